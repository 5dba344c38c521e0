package cli

import (
	"math"
	"strconv"
	"strings"

	"github.com/enlace-network/enlace/internal/fault"
	formatv1 "github.com/enlace-network/enlace/internal/pb/enlace/format/v1"
)

// How a text and a place are typed; both as fields behind semicolons, like a subject.
const (
	textSyntax  = "'LANGUAGE;title=TITLE;summary=SUMMARY[;translation=machine]'"
	placeSyntax = "'STATE;name=NAME;region=REGION;kind=KIND;at=LATITUDE,LONGITUDE;precision=METRES', with an empty STATE at sea"
)

// parseText reads title and summary in another language, such as
//
//	es;title=Pesquero sin luces;summary=Una embarcación gris
//
// A person wrote it where translation is not given.
func parseText(s string) (*formatv1.AlertText, error) {
	head, fields, err := keyed(s, "text", textSyntax)
	if err != nil {
		return nil, err
	}
	t := &formatv1.AlertText{Language: head, Translation: "human"}
	for _, f := range fields {
		switch f.key {
		case "title":
			t.Title = f.value
		case "summary":
			t.Summary = f.value
		case "translation":
			t.Translation = f.value
		default:
			return nil, badPart("text", quoted(f.key)+" is not known here", textSyntax)
		}
	}
	return t, nil
}

// parsePlace reads a place, such as
//
//	jm;name=Kingston;kind=port;at=17.96,-76.79;precision=2000
func parsePlace(s string) (*formatv1.Place, error) {
	head, fields, err := keyed(s, "place", placeSyntax)
	if err != nil {
		return nil, err
	}
	p := &formatv1.Place{State: head}
	for _, f := range fields {
		ok := true
		switch f.key {
		case "name":
			p.Name = f.value
		case "region":
			p.Region = f.value
		case "kind":
			p.Kind = f.value
		case "at":
			p.LatitudeE6, p.LongitudeE6, ok = coordinates(f.value)
		case "precision":
			var n uint64
			n, err = strconv.ParseUint(f.value, 10, 32)
			p.PrecisionM, ok = uint32(n), err == nil && n > 0
		default:
			return nil, badPart("place", quoted(f.key)+" is not known here", placeSyntax)
		}
		if !ok {
			return nil, badPart("place", quoted(f.key+"="+f.value)+" cannot be read", placeSyntax)
		}
	}
	return p, nil
}

// coordinates reads degrees with decimals as whole millionths.
func coordinates(s string) (latitude, longitude int64, ok bool) {
	north, east, ok := strings.Cut(s, ",")
	latitude, first := millionths(north, 90)
	longitude, second := millionths(east, 180)
	return latitude, longitude, ok && first && second
}

func millionths(s string, most float64) (int64, bool) {
	degrees, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(math.Abs(degrees) <= most) {
		return 0, false
	}
	return int64(math.Round(degrees * 1e6)), true
}

// pair is one KEY=VALUE.
type pair struct{ key, value string }

// keyed splits "HEAD;KEY=VALUE;...", each key once.
func keyed(s, what, syntax string) (string, []pair, error) {
	fields, err := splitFields(s)
	if err != nil {
		return "", nil, err
	}
	var out []pair
	seen := map[string]bool{}
	for _, field := range fields[1:] {
		key, value, ok := strings.Cut(field, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || value == "" {
			return "", nil, badPart(what, quoted(field)+" is not KEY=VALUE", syntax)
		}
		if seen[key] {
			return "", nil, badPart(what, key+" is given twice", syntax)
		}
		seen[key] = true
		out = append(out, pair{key, value})
	}
	return strings.TrimSpace(fields[0]), out, nil
}

func badPart(what, say, syntax string) error {
	return fault.New(fault.Usage, "malformed-"+what, "read "+what, say).WithHint("write " + syntax)
}
