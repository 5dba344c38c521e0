package message

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/enlace-network/enlace/internal/authority"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// Limits of small files, which travel inside an alert; larger ones are attachments and pulled from the issuer.
const (
	maxSmallFile  = 256 << 10
	maxSmallFiles = 512 << 10
	maxFileName   = 255
)

// Whole circle and quarter circle in millionths of a degree.
const (
	maxLongitude = 180_000_000
	maxLatitude  = 90_000_000
)

var mediaType = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$`)

func (f *findings) places(places []*formatv1.Place) {
	for i, p := range places {
		field := fmt.Sprintf("places[%d]", i)
		if _, err := authority.ParseState(p.GetState()); p.GetState() != "" && (err != nil || len(p.GetState()) != 2) {
			f.fail(field+".state", "a state is two lower-case letters, such as mx, or empty at sea")
		}
		f.coordinates(field, p)
		if p.GetState()+p.GetRegion()+p.GetName() == "" && p.GetPrecisionM() == 0 {
			f.fail(field, "a place needs a state, a region, a name or coordinates")
		}
	}
}

func (f *findings) coordinates(field string, p *formatv1.Place) {
	latitude, longitude := p.GetLatitudeE6(), p.GetLongitudeE6()
	if latitude < -maxLatitude || latitude > maxLatitude || longitude < -maxLongitude || longitude > maxLongitude {
		f.fail(field, "the coordinates are not on the globe")
	}
	if (latitude != 0 || longitude != 0) && p.GetPrecisionM() == 0 {
		f.fail(field+".precision_m", "say within how many metres the coordinates are true")
	}
}

func (f *findings) files(files []*formatv1.File) {
	if len(files) > maxPerList {
		f.fail("files", fmt.Sprintf("there are more than %d files", maxPerList))
	}
	total, seen := 0, map[string]bool{}
	for i, file := range files {
		field := fmt.Sprintf("files[%d]", i)
		f.fileName(field+".name", file.GetName())
		if name := strings.ToLower(file.GetName()); seen[name] {
			f.fail(field+".name", "two files have this name")
		} else {
			seen[name] = true
		}
		if !mediaType.MatchString(file.GetMediaType()) {
			f.fail(field+".media_type", "give a media type, such as image/jpeg")
		}
		switch n := len(file.GetData()); {
		case n == 0:
			f.fail(field, "the file is empty")
		case n > maxSmallFile:
			f.fail(field, fmt.Sprintf("the file is larger than %d bytes; attach it instead", maxSmallFile))
		}
		total += len(file.GetData())
	}
	if total > maxSmallFiles {
		f.fail("files", fmt.Sprintf("the files are together larger than %d bytes; attach them instead", maxSmallFiles))
	}
}

// fileName refuses names that would lead a receiver's disk elsewhere, or its screen astray.
func (f *findings) fileName(field, name string) {
	odd := func(r rune) bool {
		return strings.ContainsRune(`/\:*?"<>|`, r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	}
	if strings.TrimSpace(name) == "" || len(name) > maxFileName || strings.HasPrefix(name, ".") || strings.ContainsFunc(name, odd) {
		f.fail(field, "give the file a plain name, without a path")
	}
}
