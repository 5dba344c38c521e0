package seal

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/enlace-network/enlace/internal/message"
	"github.com/enlace-network/enlace/internal/vectortest"
)

// ageProgram is the age of tools/age, as make builds it; without make the test builds it.
func ageProgram(t *testing.T) string {
	t.Helper()
	built, err := filepath.Abs("../../bin/tools/age")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(built); err == nil {
		return built
	}
	path := filepath.Join(t.TempDir(), "age")
	build := exec.Command("go", "build", "-C", "../../tools/age", "-o", path, "filippo.io/age/cmd/age")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build age: %v\n%s", err, out)
	}
	return path
}

// decrypt runs age as a person would: an identity file and the sealed file.
func decrypt(t *testing.T, program, identity string, sealed []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	key, in := filepath.Join(dir, "key.txt"), filepath.Join(dir, "sealed.age")
	for path, content := range map[string][]byte{key: []byte(identity + "\n"), in: sealed} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, failed bytes.Buffer
	command := exec.Command(program, "--decrypt", "--identity", key, in)
	command.Stdout, command.Stderr = &out, &failed
	if err := command.Run(); err != nil {
		t.Fatalf("age: %v\n%s", err, failed.String())
	}
	return out.Bytes()
}

// Recovery never depends on us: the plain age program opens a body with any recipient's identity, and an attachment
// with the identity in the body. PROTOCOL 5.6, 6.1, 6.2.
func TestPlainAgeOpens(t *testing.T) {
	program := ageProgram(t)
	w := newWorld(t)
	file := vectortest.Bytes("file", 2*message.HashChunk+99)
	var sealedFile bytes.Buffer
	key, line, err := SealAttachment(&sealedFile, bytes.NewReader(file), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := contextOf(t, []string{"jm/jcf"}, "mx/fgr sign")
	c.Attachments = []message.Attachment{line}
	env := w.seal(t, c, someContent(t, key))
	for _, who := range []string{"jm/jcf", "mx/fgr"} {
		plain := decrypt(t, program, vectortest.Identity(who+" seal").String(), env.Sealed)
		content, err := unmarshal(plain)
		if err != nil || content.Commitment(env.Header.ContextBytes) != env.Header.Commitment {
			t.Fatalf("%s: what age opens is not what was committed to: %v", who, err)
		}
		if got := decrypt(t, program, content.Attachments[0].Identity, sealedFile.Bytes()); !bytes.Equal(got, file) {
			t.Errorf("%s: the attachment opens as %d other bytes", who, len(got))
		}
	}
}
