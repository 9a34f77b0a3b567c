package benchstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	perSource   = 10_000 // connections from one address of 127.0.0.0/8
	maxDialling = 256    // at a time, less than a listener's queue
	tick        = 20 * time.Millisecond

	ipBindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT, which package syscall lacks
)

// poller is the loop of Linux: one goroutine and one epoll for all clients and the commands.
type poller struct {
	*load
	ep       int
	server   syscall.Sockaddr
	byFD     []*conn
	buf      []byte // what is read, by all clients in turn
	dialling int
	slowAt   int64 // Monotonic when the slow were read last
}

// loop serves the clients until in ends. in must be a file that epoll takes, such as a pipe.
func (l *load) loop(in io.Reader) error {
	file, ok := in.(*os.File)
	if !ok {
		return errors.New("the commands do not come from a file")
	}
	addr, err := netip.ParseAddrPort(l.opts.Addr)
	if err != nil || !addr.Addr().Is4() {
		return fmt.Errorf("address %q: want IPv4 and a port", l.opts.Addr)
	}
	p := &poller{load: l, server: &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, buf: make([]byte, 2<<20), slowAt: Monotonic()}
	if p.ep, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	input := int(file.Fd())
	if err := p.watch(input, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN); err != nil {
		return err
	}
	return p.run(input)
}

func (p *poller) run(input int) error {
	events := make([]syscall.EpollEvent, 512)
	var lines []byte
	for {
		wait := -1
		if p.timed() {
			wait = int(tick.Milliseconds())
		}
		if p.r.Open+p.dialling < len(p.conns) && p.r.Err == "" {
			p.dialDue()
		}
		n, err := syscall.EpollWait(p.ep, events, wait)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		p.now = Monotonic()
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			if fd != input {
				if c := p.byFD[fd]; c != nil {
					p.ready(c)
				}
				continue
			}
			n, err := syscall.Read(input, p.buf)
			if n <= 0 || err != nil {
				return err
			}
			lines = append(lines, p.buf[:n]...)
			for {
				line, rest, ok := bytes.Cut(lines, []byte("\n"))
				if !ok {
					break
				}
				if err := p.command(line); err != nil {
					return err
				}
				lines = rest
			}
		}
		p.readSlow()
		p.settle()
	}
}

func (p *poller) watch(fd, op int, events uint32) error {
	return syscall.EpollCtl(p.ep, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// dialDue begins the attempts that are due.
func (p *poller) dialDue() {
	now := Monotonic()
	for i, c := range p.conns {
		if c.stage != idle || c.due == 0 || c.due > now {
			continue
		}
		if p.dialling >= maxDialling {
			return
		}
		p.trying(c)
		c.stage = dialling
		p.dialling++
		if err := p.dial(c, i); err != nil {
			p.drop(c, err)
		}
	}
}

func (p *poller) dial(c *conn, i int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.fd = fd
	for len(p.byFD) <= fd {
		p.byFD = append(p.byFD, nil)
	}
	p.byFD[fd] = c
	if c.slow {
		// With segments of a small network the server's kernel has a small buffer for it, too; on loopback it takes MiBs.
		err := errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10),
			syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536))
		if err != nil {
			return err
		}
	}
	if source := i / perSource; source > 0 {
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1) // an old kernel has fewer ports then
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + source)}}); err != nil {
			return err
		}
	}
	if err := syscall.Connect(fd, p.server); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return err
	}
	return p.watch(fd, syscall.EPOLL_CTL_ADD, syscall.EPOLLOUT)
}

// ready is called when a client can go on.
func (p *poller) ready(c *conn) {
	if c.stage != dialling {
		p.read(c, len(p.buf))
		return
	}
	code, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	if err == nil {
		_, err = syscall.Write(c.fd, c.request()) // a fresh connection has room for it
	}
	if err == nil {
		err = p.watch(c.fd, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN)
	}
	if err != nil {
		p.drop(c, err)
		return
	}
	c.stage = waiting
}

// read reads at most limit bytes of a client.
func (p *poller) read(c *conn, limit int) {
	old := copy(p.buf, c.part)
	n, err := syscall.Read(c.fd, p.buf[old:min(len(p.buf), old+limit)])
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		p.drop(c, err)
		return
	}
	before := c.stage
	reply, err := c.take(p.buf[:old+n])
	if before == waiting && c.stage == reading {
		p.dialling--
		if c.slow && !p.hurried && err == nil {
			err = p.watch(c.fd, syscall.EPOLL_CTL_DEL, 0) // readSlow does
		}
	}
	if len(reply) > 0 {
		_, _ = syscall.Write(c.fd, reply) // one that is lost shows as the end of the connection
	}
	if err != nil {
		p.drop(c, err)
	}
}

// readSlow reads what the slow may have since the last time.
func (p *poller) readSlow() {
	passed := p.now - p.slowAt
	if p.opts.Slow == 0 || (passed < int64(tick) && !p.hurried) {
		return
	}
	p.slowAt = p.now
	for _, c := range p.conns[len(p.conns)-p.opts.Slow:] {
		if c.stage != reading {
			continue
		}
		if p.hurried {
			_ = p.watch(c.fd, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN)
			continue
		}
		p.read(c, max(int(int64(p.opts.SlowBytes)*passed/1e9), 1))
	}
	if p.hurried {
		p.opts.Slow = 0 // all are alike from now on
	}
}

// drop closes the connection of a client.
func (p *poller) drop(c *conn, err error) {
	if c.stage != reading {
		p.dialling--
	}
	if c.fd >= 0 {
		p.byFD[c.fd] = nil
		_ = syscall.Close(c.fd)
		c.fd = -1
	}
	p.lost(c, err)
}
