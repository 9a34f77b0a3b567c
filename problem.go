package tandem

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"strings"
	"time"
)

// Problem is an RFC 9457 problem detail. Type is ProblemBase and a code.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Hint   string       `json:"hint,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`

	// With the code request-link only: which link failed, how, and which had succeeded before.
	Link    string      `json:"link,omitempty"`
	Outcome LinkOutcome `json:"outcome,omitempty"`
	Done    []string    `json:"done,omitempty"`

	retryAfter time.Duration
}

// ProblemBase is what the type of every problem begins with; a code follows. It names the kinds and is not an address to
// fetch. It ends in a slash, so that clients can tell a kind by the last segment whatever stands before it.
const ProblemBase = "urn:tandem:problem/"

var codeStatus = map[Code]struct {
	status int
	title  string
}{
	CodeInvalid:      {http.StatusBadRequest, "The request is invalid"},
	CodeUnauthorized: {http.StatusUnauthorized, "Authentication is required"},
	CodeForbidden:    {http.StatusForbidden, "Not allowed"},
	CodeNotFound:     {http.StatusNotFound, "Not found"},
	CodeConflict:     {http.StatusConflict, "The request conflicts with what is there"},
	CodeMethod:       {http.StatusMethodNotAllowed, "The method is not allowed"},
	CodeSlow:         {http.StatusRequestTimeout, "The request did not arrive in time"},
	CodeUpstream:     {http.StatusBadGateway, "A service did not answer"},
	CodeGone:         {http.StatusGone, "No longer there"},
	CodePrecondition: {http.StatusPreconditionFailed, "The precondition failed"},
	CodeTooLarge:     {http.StatusRequestEntityTooLarge, "The request is too large"},
	CodeMediaType:    {http.StatusUnsupportedMediaType, "The media type is not supported"},
	CodeUnsupported:  {http.StatusNotImplemented, "Not supported"},
	CodeOverloaded:   {http.StatusTooManyRequests, "Too many requests"},
	CodeUnavailable:  {http.StatusServiceUnavailable, "Unavailable for now"},
	CodeTimeout:      {http.StatusGatewayTimeout, "The time was out"},
	CodeInternal:     {http.StatusInternalServerError, "Internal error"},
	CodeRequestLink:  {http.StatusBadGateway, "A request link failed"},
}

var linkStatus = map[LinkOutcome]int{
	LinkRefused:     http.StatusBadGateway,
	LinkUnavailable: http.StatusServiceUnavailable,
	LinkTimeout:     http.StatusGatewayTimeout,
}

// ProblemOf turns an error into the problem that describes it. It is the one place that maps codes to status. The text
// of an error without a known Code is not shown: it was not written for clients.
func ProblemOf(err error) *Problem {
	var e *Error
	if !errors.As(err, &e) || e.Code == CodeInternal || codeStatus[e.Code].status == 0 {
		return &Problem{Type: ProblemBase + string(CodeInternal), Title: codeStatus[CodeInternal].title,
			Status: http.StatusInternalServerError, Detail: "the server's log has the details"}
	}
	s := codeStatus[e.Code]
	p := &Problem{Type: ProblemBase + string(e.Code), Title: s.title, Status: s.status}
	// Ops of the wrapping errors are for logs; the client gets the innermost text, and the first hint and fields found.
	for inner := e; inner != nil; {
		if inner.Hint != "" && p.Hint == "" {
			p.Hint = inner.Hint
		}
		p.Errors = append(p.Errors, inner.Fields...)
		if p.retryAfter == 0 {
			p.retryAfter = inner.RetryAfter
		}
		if inner.Link != nil && p.Outcome == "" {
			p.Link, p.Outcome, p.Done = inner.Link.Link, inner.Link.Outcome, inner.Link.Done
			if s, ok := linkStatus[p.Outcome]; ok {
				p.Status = s
			}
		}
		var next *Error
		if !errors.As(inner.Err, &next) {
			if inner.Err != nil {
				p.Detail = inner.Err.Error()
			}
			break
		}
		inner = next
	}
	return p
}

// RetryAfterSeconds returns the value of Retry-After, at least 1, and whether the status calls for one.
func (p *Problem) RetryAfterSeconds() (int, bool) {
	if p.Status != http.StatusTooManyRequests && p.Status != http.StatusServiceUnavailable {
		return 0, false
	}
	return max(1, int(math.Ceil(p.retryAfter.Seconds()))), true
}

// Err turns a problem that a server answered with back into an Error, so that a client sees the code that the server saw.
func (p *Problem) Err() *Error {
	code := Code(strings.TrimPrefix(p.Type, ProblemBase))
	if strings.HasSuffix(p.Type, "/"+string(CodeRequestLink)) {
		code = CodeRequestLink
	}
	if _, ok := codeStatus[code]; !ok {
		code = CodeInternal
		for c, s := range codeStatus {
			if s.status == p.Status && c != CodeRequestLink { // a 502 of a proxy in between is none
				code = c
			}
		}
	}
	text := p.Detail
	if text == "" {
		text = cmp.Or(p.Title, http.StatusText(p.Status), "a problem without a text")
	}
	e := &Error{Code: code, Err: errors.New(text), Hint: p.Hint, Fields: p.Errors, RetryAfter: p.retryAfter}
	if code == CodeRequestLink {
		e.Link = &RequestLink{Link: p.Link, Outcome: p.Outcome, Done: p.Done}
	}
	return e
}
