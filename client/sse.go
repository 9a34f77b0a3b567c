package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// errMessageTooLarge ends a stream whose message is beyond the bound.
var errMessageTooLarge = errors.New("a message of the stream is larger than 128 MiB")

// message is one message of an event stream (HTML, section 9.2).
type message struct {
	event string // empty means "message"
	data  []byte // valid until the next message is read
	id    string
	hasID bool
	retry time.Duration // zero when absent
}

// sseReader reads an event stream. Lines end with LF or CRLF; a lone CR, which the format also allows and no server of
// ours sends, is part of the line.
type sseReader struct {
	r    *bufio.Reader
	line []byte
	data []byte
}

func newSSEReader(r io.Reader) *sseReader {
	return &sseReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next message that has data or an id. A message that the end of the stream cuts off is dropped.
func (s *sseReader) next() (message, error) {
	m := message{}
	s.data = s.data[:0]
	hasData := false
	for {
		line, err := s.readLine()
		if err != nil {
			return message{}, err
		}
		if len(line) == 0 {
			if hasData || m.hasID || m.event != "" || m.retry > 0 {
				m.data = bytes.TrimSuffix(s.data, []byte{'\n'})
				return m, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(name) {
		case "event":
			m.event = string(value)
		case "data":
			if len(s.data)+len(value) > maxBodyBytes {
				return message{}, errMessageTooLarge
			}
			s.data = append(append(s.data, value...), '\n')
			hasData = true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				m.id, m.hasID = string(value), true
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				m.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// readLine returns the next line without its end; it is valid until the next call.
func (s *sseReader) readLine() ([]byte, error) {
	s.line = s.line[:0]
	for {
		part, err := s.r.ReadSlice('\n')
		if len(s.line)+len(part) > maxBodyBytes {
			return nil, errMessageTooLarge
		}
		if err == nil && len(s.line) == 0 {
			return trimEnd(part), nil
		}
		s.line = append(s.line, part...)
		switch {
		case err == nil:
			return trimEnd(s.line), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
}
