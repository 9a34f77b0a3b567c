package console

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// apiFor returns a client of the API that acts as whoever sent a request.
func (c *Console) apiFor(r *http.Request) *client.Client {
	cl, err := client.New("http://localhost", client.Options{
		HTTP:      &http.Client{Transport: &inProcess{c.opts.API, r}},
		Retries:   -1, // who looks at a page tries again
		UserAgent: "tandem-console",
	})
	if err != nil {
		panic(err) // the address is right
	}
	return cl
}

// inProcess sends requests to the API's handler without a connection, for somebody: with the Authorization of their own request, or the
// pass in its context.
type inProcess struct {
	api http.Handler
	by  *http.Request
}

// RoundTrip implements http.RoundTripper.
func (p *inProcess) RoundTrip(r *http.Request) (res *http.Response, err error) {
	w := &answer{header: http.Header{}}
	in := p.request(r)
	defer func() {
		if v := recover(); v != nil {
			if e, ok := v.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(v)
			}
			res, err = nil, tandem.Errorf(tandem.CodeUnavailable, "the answer was cut off")
		}
	}()
	p.api.ServeHTTP(w, in)
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r}, nil
}

// request is a client's request as a server sees it.
func (p *inProcess) request(r *http.Request) *http.Request {
	in := r.Clone(r.Context())
	in.Host, in.RemoteAddr, in.RequestURI = p.by.Host, p.by.RemoteAddr, r.URL.RequestURI()
	if a := p.by.Header.Get("Authorization"); a != "" {
		in.Header.Set("Authorization", a)
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

// answer is what a handler answered. It is all in memory: documents and pages, which the API bounds.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
