package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the command itself, for the scripts of the documentation.
func TestMain(m *testing.M) {
	if os.Getenv("TANDEM_TEST_COMMAND") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestDeliveryPage runs the commands of docs/delivery.md. Text behind an arrow must be in what the command prints.
func TestDeliveryPage(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell")
	}
	page, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "tandem"), []byte("#!/bin/sh\nTANDEM_TEST_COMMAND=1 exec '"+self+"' \"$@\"\n"), 0o700); err != nil { //nolint:gosec // it is a command
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Chdir(t.TempDir())
	serve(t)
	for _, block := range strings.Split(string(page), "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, command := range commands(block) {
			line, want, _ := strings.Cut(command, "# → ")
			out := script(t, line)
			// What only shows may be a moment ahead of what is being stored.
			for late := time.Now().Add(20 * time.Second); shows.MatchString(line) && !strings.Contains(out, strings.TrimSpace(want)) && time.Now().Before(late); {
				out = script(t, line)
			}
			if !strings.Contains(out, strings.TrimSpace(want)) {
				t.Errorf("%s\nprints\n%swithout %q", line, out, want)
			}
		}
	}
}

// shows matches commands that change nothing.
var shows = regexp.MustCompile(`tandem deliveries|dead-letters list|--dry-run`)

func script(t *testing.T, line string) string {
	t.Helper()
	var out bytes.Buffer
	sh := exec.CommandContext(t.Context(), "sh", "-e", "-c", line)
	sh.Stdout, sh.Stderr = &out, &out
	if err := sh.Run(); err != nil {
		t.Fatalf("%s\n%v\n%s", line, err, &out)
	}
	return out.String()
}

// commands splits a script at its lines, but for a here document, which ends with END.
func commands(script string) (all []string) {
	held := ""
	for line := range strings.Lines(script) {
		held += line
		if strings.Contains(held, "<<END") && !strings.HasSuffix(held, "\nEND\n") {
			continue
		}
		all = append(all, held)
		held = ""
	}
	return all
}
