//go:build !linux

package benchstream

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

// loop serves the clients until in ends, with a goroutine for each.
func (l *load) loop(in io.Reader) error {
	var mu sync.Mutex // guards l
	for _, c := range l.conns {
		go func() {
			for {
				mu.Lock()
				wait := time.Duration(c.due - Monotonic())
				mu.Unlock()
				time.Sleep(wait)
				mu.Lock()
				l.trying(c)
				c.stage = waiting
				mu.Unlock()
				err := c.once(&mu)
				mu.Lock()
				l.lost(c, err)
				l.settle()
				mu.Unlock()
			}
		}()
	}
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			mu.Lock()
			l.settle()
			mu.Unlock()
		}
	}()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		mu.Lock()
		err := l.command(lines.Bytes())
		mu.Unlock()
		if err != nil {
			return err
		}
	}
	return lines.Err()
}

// once connects and reads until the connection ends.
func (c *conn) once(mu *sync.Mutex) error {
	s, err := net.Dial("tcp", c.l.opts.Addr)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.slow {
		_ = s.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	mu.Lock()
	request := c.request()
	mu.Unlock()
	if _, err := s.Write(request); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		mu.Lock()
		old, limit := copy(buf, c.part), len(buf)
		slow := c.slow && !c.l.hurried && c.stage == reading
		mu.Unlock()
		if old == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
			limit = len(buf)
		}
		if slow {
			time.Sleep(50 * time.Millisecond)
			limit = min(limit, old+max(c.l.opts.SlowBytes/20, 1))
		}
		n, err := s.Read(buf[old:limit])
		if err != nil {
			return err
		}
		mu.Lock()
		c.l.now = Monotonic()
		reply, err := c.take(buf[:old+n])
		c.l.settle()
		mu.Unlock()
		if len(reply) > 0 {
			_, _ = s.Write(reply) // one that is lost shows as the end of the connection
		}
		if err != nil {
			return err
		}
	}
}
