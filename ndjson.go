package tandem

import (
	"bytes"
	"errors"
	"io"
)

// LineReader splits newline-delimited JSON into lines. Lines stay valid after the next call: events parsed from them
// may share their bytes. It holds at most one line and one block of input (64 KiB). Not for concurrent use.
type LineReader struct {
	r      io.Reader
	max    int
	block  []byte // read and not yet given out
	err    error  // from r
	number int
}

const lineBlock = 64 << 10

// NewLineReader reads lines from r. A line longer than maxLineBytes, without its end, is an error of its own; zero means
// DefaultMaxEventBytes.
func NewLineReader(r io.Reader, maxLineBytes int) *LineReader {
	if maxLineBytes <= 0 {
		maxLineBytes = DefaultMaxEventBytes
	}
	return &LineReader{r: r, max: maxLineBytes}
}

// Next returns the next line that is not blank, without its end, and its number, from 1. At the end of the input it
// returns io.EOF. Code TooLarge means that this line was skipped and Next can be called again; any other error is r's
// and final.
func (l *LineReader) Next() (line []byte, number int, err error) {
	for {
		line, err = l.line()
		if err != nil {
			return nil, l.number, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, l.number, nil
		}
	}
}

func (l *LineReader) line() ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(l.block[scanned:], '\n'); i >= 0 {
			end := scanned + i
			line := l.block[:end:end]
			l.block = l.block[end+1:]
			l.number++
			return l.checked(line)
		}
		scanned = len(l.block)
		if scanned > l.max+1 {
			return nil, l.skip()
		}
		if l.err != nil {
			if scanned == 0 || !errors.Is(l.err, io.EOF) {
				return nil, l.err
			}
			line := l.block
			l.block = nil
			l.number++
			return l.checked(line)
		}
		l.fill()
	}
}

// checked refuses a line that is too long. Its end, which does not count, may have a carriage return.
func (l *LineReader) checked(line []byte) ([]byte, error) {
	if len(bytes.TrimSuffix(line, []byte{'\r'})) > l.max {
		return nil, l.tooLong()
	}
	return line, nil
}

// fill reads more behind what is left. When the block is full it begins a new one, since lines given out keep the old.
func (l *LineReader) fill() {
	if len(l.block) == cap(l.block) {
		b := make([]byte, len(l.block), max(lineBlock, 2*len(l.block)))
		copy(b, l.block)
		l.block = b
	}
	for empty := 0; empty < 100; empty++ {
		n, err := l.r.Read(l.block[len(l.block):cap(l.block)])
		l.block = l.block[:len(l.block)+n]
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

// skip drops the rest of a line that is too long.
func (l *LineReader) skip() error {
	l.number++
	for {
		if i := bytes.IndexByte(l.block, '\n'); i >= 0 {
			l.block = l.block[i+1:]
			return l.tooLong()
		}
		l.block = l.block[:0]
		if l.err != nil {
			return l.tooLong()
		}
		l.fill()
	}
}

func (l *LineReader) tooLong() error {
	return Errorf(CodeTooLarge, "line %d is longer than %d bytes", l.number, l.max)
}

// IsEventJSON reports whether b is a JSON object with a member specversion: a CloudEvent, valid or not, and no plain JSON.
func IsEventJSON(b []byte) bool {
	s := jsonScanner{b: b}
	s.space()
	return s.enter("specversion")
}

// ParseNDJSONLine reads one line of a bulk request: a CloudEvent in JSON or, where it has no specversion, any JSON value,
// which becomes the data of a copy of plain. The event shares line. Code: Invalid.
func ParseNDJSONLine(line []byte, plain *Event) (Event, error) {
	if IsEventJSON(line) {
		return ParseEventJSON(line)
	}
	s := jsonScanner{b: line}
	s.space()
	from := s.i
	if !s.value(0) {
		return Event{}, s.err()
	}
	to := s.i
	if !s.end() {
		return Event{}, s.err()
	}
	e := *plain
	e.Data, e.Encoding = line[from:to:to], DataJSON
	return e, nil
}
