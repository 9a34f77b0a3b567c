package httpx

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/tandem-hybrid/tandem"
)

// Recorder notes what a handler answers. http.ResponseController reaches the writer below it.
type Recorder struct {
	http.ResponseWriter
	Status int // zero until the header is written
	// Gone says that the connection was taken over: the answer goes on after the handler has returned.
	Gone bool
}

// WriteHeader implements http.ResponseWriter.
func (w *Recorder) WriteHeader(status int) {
	if w.Status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.Status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *Recorder) Write(b []byte) (int, error) {
	if w.Status == 0 {
		w.Status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Answered notes the status of an answer that is not written here, since the connection was taken over.
func (w *Recorder) Answered(status int) { w.Status, w.Gone = status, true }

// Unwrap is for http.ResponseController.
func (w *Recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Recovered is deferred around a handler that writes to w. It logs a panic with its stack and answers 500 or, where the
// answer had begun, breaks the connection, so that no client takes half an answer for a whole one.
func Recovered(logger *slog.Logger, w *Recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	logger.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "flow", w.Header().Get(tandem.HeaderFlow), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.Status != 0 {
		panic(http.ErrAbortHandler)
	}
	WriteProblem(w, tandem.Errorf(tandem.CodeInternal, "panic"))
}
