package pebblelog

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandem-hybrid/tandem"
)

func wantHint(t *testing.T, err error, code tandem.Code, part string) {
	t.Helper()
	wantCode(t, err, code)
	var te *tandem.Error
	for e := err; errors.As(e, &te); e = te.Err {
		if strings.Contains(te.Hint, part) {
			return
		}
	}
	t.Errorf("%v has no hint about %q", err, part)
}

// TestSecondProcess opens a directory that another process has. The other process is this test again.
func TestSecondProcess(t *testing.T) {
	if dir := os.Getenv("PEBBLELOG_HOLD"); dir != "" {
		e, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("open\n")
		io.Copy(io.Discard, os.Stdin) // until the parent closes it
		e.Close()
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcess$")
	cmd.Env = append(os.Environ(), "PEBBLELOG_HOLD="+dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 5))
	_, err := Open(dir, Options{})
	wantHint(t, err, tandem.CodeConflict, "one process")
	in.Close()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("after the other process has ended: %v", err)
	}
	_, err = Open(dir, Options{})
	wantHint(t, err, tandem.CodeConflict, "one process")
	e.Close()
}

func TestNewerFormat(t *testing.T) {
	fs := vfs.NewMem()
	e := open(t, Options{FS: fs})
	if err := e.db.Set(keyFormat, []byte("2"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	e.Close()
	_, err := Open("log", Options{FS: fs})
	wantHint(t, err, tandem.CodeUnsupported, "newer version")
}

func TestUnusableDirectory(t *testing.T) {
	file := t.TempDir() + "/file"
	os.WriteFile(file, nil, 0o600)
	_, err := Open(file, Options{})
	wantHint(t, err, tandem.CodeInvalid, "directory")
	_, err = Open(file+"/below", Options{})
	wantHint(t, err, tandem.CodeInvalid, "directory")
	if os.Getuid() == 0 {
		_, err = Open("/proc/nowhere", Options{})
		wantHint(t, err, tandem.CodeInvalid, "directory")
		return
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o500)
	_, err = Open(dir, Options{})
	wantHint(t, err, tandem.CodeInvalid, "writable")
}
