package benchstream

import (
	"errors"
	"net"
	"time"
)

// Probe connects one client in this process and returns the first event it is sent as it was on the wire: a message of
// server-sent events with the empty line behind it, or a whole frame. Error: ErrUnsupported.
func Probe(opts Options) ([]byte, error) {
	opts.N = 1
	l := newLoad(opts, nil)
	l.keep = new([]byte)
	c := l.conns[0]
	s, err := net.Dial("tcp", opts.Addr) //nolint:noctx // on loopback
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := s.Write(c.request()); err != nil {
		return nil, err
	}
	c.stage = waiting
	buf := make([]byte, 1<<20)
	for len(*l.keep) == 0 {
		old := copy(buf, c.part)
		n, err := s.Read(buf[old:])
		if err == nil {
			_, err = c.take(buf[:old+n])
		}
		if l.r.Unsupported {
			return nil, ErrUnsupported
		}
		if l.r.Err != "" {
			return nil, errors.New(l.r.Err)
		}
		if err != nil {
			return nil, err
		}
	}
	return *l.keep, nil
}
