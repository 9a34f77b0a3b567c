package benchstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// messages takes all whole messages of server-sent events, whose lines end in a line feed, and returns the rest.
func (c *conn) messages(b []byte) ([]byte, error) {
	for {
		i := bytes.Index(b, []byte("\n\n"))
		if i < 0 {
			return b, nil
		}
		if err := c.message(b[:i+1]); err != nil {
			return nil, err
		}
		b = b[i+2:]
	}
}

func (c *conn) message(m []byte) error {
	var name, id, data []byte
	for rest := m; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		line := rest[:i]
		rest = rest[i+1:]
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			data = value // the events of this package have one line
		case "id":
			id = value
		case "event":
			name = value
		case "retry":
			ms, err := strconv.Atoi(string(value))
			if err != nil {
				return fmt.Errorf("retry: %w", err)
			}
			c.retry = time.Duration(ms) * time.Millisecond
		case "": // a comment
		default:
			return fmt.Errorf("the line %.100q", line)
		}
	}
	switch {
	case string(name) == "gap":
		c.l.r.Gaps++
	case string(name) == "reconnect":
		c.told = true
	case len(name) == 0 && len(data) > 0:
		c.keep(m, "\n")
		c.l.event(c, data, id)
		return nil
	}
	if c.l.opts.Resume && len(id) > 0 {
		c.cursor = append(c.cursor[:0], id...)
	}
	return nil
}

// keep hands a message to who asked for it.
func (c *conn) keep(m []byte, end string) {
	if c.l.keep != nil && len(*c.l.keep) == 0 {
		*c.l.keep = append(bytes.Clone(m), end...)
	}
}

// Opcodes of RFC 6455, section 5.2.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
	opFinal = 0x80
	masked  = 0x80
)

// frames takes all whole frames of a server, returns the rest, and what is to be answered.
func (c *conn) frames(b []byte) (rest, reply []byte, err error) {
	for {
		if len(b) < 2 {
			return b, reply, nil
		}
		head, n := 2, int(b[1])
		switch {
		case n == 126:
			head = 4
		case n == 127:
			head = 10
		case n >= masked:
			return nil, reply, errors.New("a frame of the server is masked")
		}
		if len(b) < head {
			return b, reply, nil
		}
		switch head {
		case 4:
			n = int(binary.BigEndian.Uint16(b[2:]))
		case 10:
			n = int(binary.BigEndian.Uint64(b[2:]))
		}
		if n > 1<<24 || n < 0 {
			return nil, reply, fmt.Errorf("a frame of %d bytes", n)
		}
		if len(b) < head+n {
			return b, reply, nil
		}
		payload := b[head : head+n]
		switch b[0] {
		case opFinal | opText:
			c.text(b[:head+n], payload)
		case opFinal | opPing:
			reply = answer(reply, opPong, payload)
		case opFinal | opPong:
		case opFinal | opClose:
			return nil, answer(reply, opClose, payload), errEnd
		default:
			return nil, reply, fmt.Errorf("a frame that begins with %#x", b[0])
		}
		b = b[head+n:]
	}
}

// answer appends a control frame of a client, masked with zeros.
func answer(b []byte, op byte, payload []byte) []byte {
	b = append(b, opFinal|op, masked|byte(len(payload)), 0, 0, 0, 0)
	return append(b, payload...)
}

// text takes a message of either subprotocol.
func (c *conn) text(frame, m []byte) {
	var cursor []byte
	if c.l.opts.Resume {
		if i := bytes.LastIndex(m, []byte(`"cursor":"`)); i >= 0 {
			cursor, _, _ = bytes.Cut(m[i+len(`"cursor":"`):], []byte(`"`))
		}
	}
	switch {
	case c.l.opts.Protocol == "cloudevents.json":
		if bytes.Contains(m, []byte(`"type":"tandem.stream.gap"`)) {
			c.l.r.Gaps++
			return
		}
	case bytes.HasPrefix(m, []byte(`{"event":`)):
	case bytes.HasPrefix(m, []byte(`{"gap":`)):
		c.l.r.Gaps++
		return
	case bytes.HasPrefix(m, []byte(`{"reconnect":`)):
		_, after, _ := bytes.Cut(m, []byte(`"after":`))
		if i := bytes.IndexAny(after, ",}"); i > 0 {
			if ms, err := strconv.Atoi(string(after[:i])); err == nil {
				c.retry, c.told = time.Duration(ms)*time.Millisecond, true
			}
		}
		return
	case bytes.HasPrefix(m, []byte(`{"cursor":`)) && !bytes.Contains(m, []byte(`"event":`)):
		if c.l.opts.Resume {
			c.cursor = append(c.cursor[:0], cursor...)
		}
		return
	case bytes.HasPrefix(m, []byte(`{"cursor":`)):
	case bytes.HasPrefix(m, []byte(`{"expiring":`)):
		return
	default:
		c.l.fail("the frame %.200q", m)
		return
	}
	c.keep(frame, "")
	c.l.event(c, m, cursor)
}
