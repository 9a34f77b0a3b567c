package client

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/tandem-hybrid/tandem"
)

// maxReceiptBytes bounds one line of receipts.
const maxReceiptBytes = 1 << 20

// PublishNDJSON sends events as lines of JSON, read from body, and calls each with the receipt or the error of every
// line, in the order sent, while it goes on sending. A line is a CloudEvent in JSON or, where it has no specversion, plain
// JSON that becomes the data of an event with the attributes given, but for the id. Each line stands on its own: one that is refused
// does not keep the others from being stored. Memory is bounded whatever the length of body; blank lines have no receipt.
//
// It returns the number of lines answered, and an error when the exchange as a whole broke off (events sent before
// may have been stored), when reading body failed, or what each returned. Nothing is sent again by itself. When it returns
// early a Read of body may still be under way.
func (c *Client) PublishNDJSON(ctx context.Context, topic string, body io.Reader, attributes Attributes, each func(tandem.Receipt, error) error) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := call{method: http.MethodPost, path: eventsPath(topic), query: attributes.query(), header: contentType(tandem.MediaNDJSON)}
	r.header.Set("Accept", tandem.MediaNDJSON)
	source := &source{r: body}
	res, err := c.send(ctx, r, source)
	if err != nil {
		return 0, source.reason(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxReceiptBytes)
	n := 0
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		receipt, err := parseReceiptLine(lines.Bytes())
		n++
		if err := each(receipt, err); err != nil {
			return n, err
		}
	}
	if err := lines.Err(); err != nil {
		return n, source.reason(c.broken(ctx, r, err))
	}
	return n, nil
}

func parseReceiptLine(line []byte) (tandem.Receipt, error) {
	var answer struct {
		tandem.Receipt
		tandem.Problem
		Line int `json:"line"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return tandem.Receipt{}, &tandem.Error{Code: tandem.CodeInternal, Op: "read a receipt", Err: err}
	}
	if answer.Status >= 300 {
		err := answer.Problem.Err()
		if answer.Line > 0 {
			err.Op = "line " + strconv.Itoa(answer.Line)
		}
		return tandem.Receipt{}, err
	}
	return answer.Receipt, nil
}

// source remembers why reading failed, which net/http hides behind its own error. The transport may still be reading
// when the exchange is over.
type source struct {
	r  io.Reader
	mu sync.Mutex
	// err is guarded by mu.
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

// reason returns why reading failed, else err.
func (s *source) reason(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return &tandem.Error{Code: tandem.CodeInvalid, Op: "read the events to send", Err: s.err}
	}
	return err
}
