package interop

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// program is a client in a process of its own that says by lines what happens, and does what lines tell it.
type program struct {
	t   *testing.T
	in  io.WriteCloser
	out chan string
	cmd *exec.Cmd
}

// run starts a program, which ends with the test.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, out: make(chan string, 1024), cmd: exec.Command(name, args...)}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(p.out)
		said := bufio.NewScanner(out)
		for said.Buffer(nil, 4<<20); said.Scan(); {
			select {
			case p.out <- said.Text():
			case <-ended:
			}
		}
	}()
	t.Cleanup(func() {
		close(ended)
		_ = p.cmd.Process.Kill()
		for range p.out { // to its end, before Wait closes the pipe
		}
		_ = p.cmd.Wait()
	})
	return p
}

// tell sends a line.
func (p *program) tell(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next line, without those that begin with a word to be left out.
func (p *program) next(without ...string) string {
	p.t.Helper()
	for {
		line := next(p.t, p.out)
		left := false
		for _, word := range without {
			left = left || strings.HasPrefix(line, word)
		}
		if !left {
			return line
		}
	}
}

// says fails unless the next line begins so, and returns the rest of it.
func (p *program) says(want string) string {
	p.t.Helper()
	line := p.next("ping", `message {"cursor":`)
	rest, ok := strings.CutPrefix(line, want)
	if !ok {
		p.t.Fatalf("%.300q where %q was next", line, want)
	}
	return rest
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}
