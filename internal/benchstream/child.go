package benchstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

const (
	envRole    = "TANDEM_BENCH_ROLE"
	envOptions = "TANDEM_BENCH_OPTIONS"
)

// Role is what a child process does. It is told its options, writes an answer to out when it is ready and one for each
// command it reads, and returns at the end of its input.
type Role func(options []byte, in io.Reader, out *json.Encoder) error

// Main runs the role that this process was started for, if any, and does not return then. A TestMain calls it first. Roles of
// this package need not be named.
func Main(roles map[string]Role) {
	name := os.Getenv(envRole)
	if name == "" {
		return
	}
	run := roles[name]
	switch name {
	case roleClients:
		run = runClients
	case RoleBare:
		run = runBare
	case RoleHandler:
		run = runHandler
	}
	err := fmt.Errorf("no role %q", name)
	if run != nil {
		err = run([]byte(os.Getenv(envOptions)), os.Stdin, json.NewEncoder(os.Stdout))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "benchstream: %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Child is a process in a role. It ends when its input does, so none outlives its parent. Not safe for concurrent use.
type Child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// Start runs this program again in a role, and returns when it is ready, with its first answer in ready.
func Start(role string, options, ready any) (*Child, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: exec.Command(self)} //nolint:noctx // it ends with its input
	c.cmd.Env = append(os.Environ(), envRole+"="+role, envOptions+"="+string(text))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	if err := c.answer(ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), c.Close())
	}
	return c, nil
}

// Ask gives the child a command and waits for its answer.
func (c *Child) Ask(command, answer any) error {
	if err := c.tell(command); err != nil {
		return err
	}
	return c.answer(answer)
}

func (c *Child) tell(command any) error {
	b, err := json.Marshal(command)
	if err == nil {
		_, err = c.in.Write(append(b, '\n'))
	}
	return err
}

func (c *Child) answer(into any) error {
	if err := c.out.Decode(into); err != nil {
		return fmt.Errorf("the child process does not answer: %w", err)
	}
	return nil
}

// Terminate sends the process SIGTERM and waits for its end.
func (c *Child) Terminate() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// Close ends the process and waits for it.
func (c *Child) Close() error {
	c.in.Close()
	return c.cmd.Wait()
}

// Command is what the servers of this package are asked.
type Command struct {
	GC bool // collect garbage first
}

// Ready is the first answer of a server.
type Ready struct {
	Addr string // host:port
}

// Serve answers for a server in a process of its own: first its address, then its Usage whenever it is asked, until in ends.
func Serve(addr string, in io.Reader, out *json.Encoder) error {
	if err := out.Encode(Ready{addr}); err != nil {
		return err
	}
	for commands := json.NewDecoder(in); ; {
		var c Command
		if err := commands.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(Self(c.GC)); err != nil {
			return err
		}
	}
}
