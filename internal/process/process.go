package process

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 15 * time.Second
	restartPause = 300 * time.Millisecond // between the end of a child and its next start
)

// starter starts children from one thread that lives as long as it does: on Linux a child is killed when the thread
// that started it ends.
type starter struct {
	work chan func()
	done chan struct{}
}

func newStarter() *starter {
	s := &starter{work: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		for fn := range s.work {
			fn()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) (err error) {
	s.do(func() { err = cmd.Start() })
	return err
}

// do runs fn on the thread.
func (s *starter) do(fn func()) {
	done := make(chan struct{})
	s.work <- func() { defer close(done); fn() }
	<-done
}

func (s *starter) stop() {
	close(s.work)
	<-s.done
}

// Process is one child, started again when it dies until the group is stopped. Its methods may be called from any goroutine.
type Process struct {
	Name string
	Addr string // where it listens, for people

	kind    string // the argument that tells a child what to be
	command []string
	set     Settings
	logPath string
	starter *starter

	mu    sync.Mutex // guards what follows
	run   *child     // nil while it is down
	held  bool       // kept down: not started again
	end   bool       // stopped for good
	spent Usage      // of the lives that have ended
	wake  chan struct{}
	done  chan struct{} // the keeper is gone
	quit  func()        // breaks off a start under way
}

// child is one life of a process.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
}

// launch starts the process and returns when it answers; from then on it is kept alive.
func (p *Process) launch(ctx context.Context) error {
	p.wake, p.done = make(chan struct{}, 1), make(chan struct{})
	c, err := p.spawn(ctx)
	if err != nil {
		close(p.done)
		p.done = nil
		return tandem.Wrap("start "+p.Name, err)
	}
	p.run = c
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	p.quit = quit
	go p.keep(life)
	return nil
}

// spawn starts one life and waits until it is ready.
func (p *Process) spawn(ctx context.Context) (*child, error) {
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	set, err := json.Marshal(p.set)
	if err != nil {
		return nil, err
	}
	args := append(append([]string{}, p.command[1:]...), p.kind)
	// Without a context: a child is asked to end before it is killed.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.command[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+string(set))
	cmd.Stderr = log
	bindToParent(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.starter.start(cmd); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	answers := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		answers <- line == ready+"\n"
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait() // how it ended is in its log
		close(c.exited)
	}()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case ok := <-answers:
		if ok {
			return c, nil
		}
		<-c.exited
		err = fmt.Errorf("it ended before it was ready: %s", lastLine(p.logPath, from))
	case <-timeout.C:
		err = fmt.Errorf("it was not ready within %s: %s", startTimeout, lastLine(p.logPath, from))
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.kill()
	return nil, err
}

// lastLine returns the last line of a log, from where a life of the child began: why it ended. The file itself may be gone
// when people read of it.
func lastLine(path string, from int64) string {
	body, err := os.ReadFile(path)
	if err != nil || int64(len(body)) <= from {
		return "it said nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(body[from:])), "\n")
	return lines[len(lines)-1]
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // or it is gone already
	c.stdin.Close()
	<-c.exited
}

// finish closes the child's standard input, which asks it to end, and kills it when it does not.
func (c *child) finish() {
	c.stdin.Close()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-c.exited:
	case <-timeout.C:
		c.kill()
	}
}

// keep starts the process again whenever it has died.
func (p *Process) keep(life context.Context) {
	defer close(p.done)
	for {
		p.mu.Lock()
		run, held, end := p.run, p.held, p.end
		p.mu.Unlock()
		switch {
		case end:
			return
		case run != nil:
			<-run.exited
			p.live(nil)
		case held:
			<-p.wake
		default:
			select {
			case <-p.wake: // something was asked for meanwhile
				continue
			case <-time.After(restartPause):
			}
			c, err := p.spawn(life)
			if err == nil && !p.live(c) {
				c.finish()
			}
			// A failure is in the child's log; the next try comes after the pause.
		}
	}
}

// live notes the process's present life, and reports whether it is wanted.
func (p *Process) live(c *child) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c != nil && (p.held || p.end) {
		return false
	}
	if p.run != nil {
		p.spent = p.spent.then(ended(p.run.cmd.ProcessState))
	}
	p.run = c
	return true
}

func (p *Process) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Kill kills the process as kill -9 does. It is started again.
func (p *Process) Kill() {
	if run := p.life(); run != nil {
		_ = run.cmd.Process.Kill() // or it is gone already
		<-run.exited
	}
}

// Down kills the process as kill -9 does, and keeps it down until Start.
func (p *Process) Down() {
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
	p.Kill()
}

// Hold asks the process to end, waits for it, and keeps it down until Start.
func (p *Process) Hold() {
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
	if run := p.life(); run != nil {
		run.finish()
	}
}

// Start lets a process that is kept down be started again, and returns at once.
func (p *Process) Start() {
	p.mu.Lock()
	p.held = false
	p.mu.Unlock()
	p.signal()
}

// stop ends the process for good and waits.
func (p *Process) stop() {
	if p.done == nil {
		return
	}
	p.mu.Lock()
	p.end = true
	run := p.run
	p.mu.Unlock()
	if run != nil {
		run.finish()
	}
	p.quit()
	p.signal()
	<-p.done
}

func (p *Process) life() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// PID returns the process id, or 0 while it is down.
func (p *Process) PID() int {
	if run := p.life(); run != nil {
		return run.cmd.Process.Pid
	}
	return 0
}

// Usage returns what the process has used since it was launched, over all its lives, and false where the system does not tell.
func (p *Process) Usage() (Usage, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		return p.spent, canMeasure
	}
	now, ok := running(p.run.cmd.Process.Pid)
	return p.spent.then(now), ok
}

func logPath(dir, name string) string { return filepath.Join(dir, "logs", name+".log") }
