package tandem

import (
	"errors"
	"fmt"
	"time"
)

// Code is the stable kind of an Error. Codes are part of the API: they appear as the last segment of a problem's type.
type Code string

// The codes, each with the HTTP status that the API answers with.
const (
	CodeInvalid      Code = "invalid"      // 400: the request is wrong; sending it again is useless
	CodeUnauthorized Code = "unauthorized" // 401: who are you
	CodeForbidden    Code = "forbidden"    // 403: not with these roles
	CodeNotFound     Code = "not-found"    // 404
	CodeConflict     Code = "conflict"     // 409: it contradicts what is there: other data under the same id, a name the file owns
	CodeMethod       Code = "method"       // 405: the path is known, the method is not
	CodeSlow         Code = "slow"         // 408: the request did not arrive in time
	CodeGone         Code = "gone"         // 410
	CodePrecondition Code = "precondition" // 412: If-Match did not match
	CodeTooLarge     Code = "too-large"    // 413
	CodeUnsupported  Code = "unsupported"  // 501: a capability that this engine, or this version, does not have
	CodeMediaType    Code = "media-type"   // 415
	CodeUpstream     Code = "upstream"     // 502: a service could not be reached, or its answer is broken
	CodeOverloaded   Code = "overloaded"   // 429 with Retry-After: safe to send again
	CodeUnavailable  Code = "unavailable"  // 503 with Retry-After: safe to send again; nothing was stored, or the same id is safe
	CodeTimeout      Code = "timeout"      // 504
	CodeInternal     Code = "internal"     // 500: a defect
	CodeRequestLink  Code = "request-link" // 502, 503 or 504, by Error.Link: a request link failed; nothing was stored
)

// Error is every error that leaves a package of Tandem. Codes are stable; texts are for people.
type Error struct {
	Code Code
	Op   string // what was being done: "append orders"
	Err  error  // cause or text
	Hint string // what the reader can do about it; may be empty

	Fields     []FieldError  // which parts of the input were wrong
	RetryAfter time.Duration // with Overloaded and Unavailable; zero means one second
	Link       *RequestLink  // with RequestLink
}

// RequestLink says which link of a request chain failed, and how. Nothing of the chain was stored; what the services of
// Done did stands, since a request chain has no undo.
type RequestLink struct {
	Link    string      // the subscription
	Outcome LinkOutcome // how it failed
	Done    []string    // subscriptions that had succeeded before, in the order they were called
}

// LinkOutcome is how a request link failed.
type LinkOutcome string

// The outcomes, each with the HTTP status of the answer.
const (
	LinkRefused     LinkOutcome = "refused"     // 502: the service said no: 4xx, or a reply that is invalid
	LinkUnavailable LinkOutcome = "unavailable" // 503: no connection, paused, or 5xx
	LinkTimeout     LinkOutcome = "timeout"     // 504: the deadline passed; the service may have done its work
)

// FieldError names one wrong part of an input.
type FieldError struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) into the body, or the name of a header or parameter
	Detail  string `json:"detail"`
}

// Errorf returns an Error of a code whose text, and with %w cause, are those of fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// WithHint sets what the reader can do about it and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithField adds a wrong part of the input and returns e.
func (e *Error) WithField(pointer, format string, args ...any) *Error {
	e.Fields = append(e.Fields, FieldError{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
	return e
}

// WithRetryAfter sets when to try again and returns e.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Err != nil {
		s = e.Err.Error()
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		s += sep + f.Pointer + " " + f.Detail
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the outermost Error in err's chain, CodeInternal for any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// Wrap returns err with what was being done put before it. The code stays that of err. A nil err gives nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Op: op, Err: err, RetryAfter: e.RetryAfter, Link: e.Link}
	}
	return &Error{Code: CodeInternal, Op: op, Err: err}
}
