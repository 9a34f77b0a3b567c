package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/benchfloor"
)

// Ways to tell the others.
const (
	Nobody   = "nobody"
	Sequence = "sequence" // a call to each, one after another; those behind one that fails are not called
	Parallel = "parallel" // a call to each, at the same time
	Publish  = "publish"  // one call, that publishes to a topic of Tandem
)

// Headers of an answer.
const (
	Told   = "Told"   // how many of To were told
	Failed = "Failed" // there when somebody could not be
)

const (
	maxBody    = 1 << 20
	idleConns  = 1000 // kept to each of To
	idleExpiry = time.Minute
)

// Options say what an origin does with each request.
type Options struct {
	// Type is the type of its events.
	Type string `json:"type"`
	// File is where what happens is stored: appended to a file that is synced, once for all that wait, before anybody is told. It has no
	// index and no checksum: no service that stores can do less. Empty stores nothing.
	File string `json:"file,omitempty"`
	// Tell is one of the constants above.
	Tell string `json:"tell"`
	// To are the URLs to post to: the services that are told, in order, or with Publish the topic's.
	To []string `json:"to,omitempty"`
	// Timeout is that of one call. Zero means 5s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Indifferent answers as if all had been told when they were not, as a page does that is shown to a reader all the same.
	Indifferent bool `json:"indifferent,omitempty"`
	// PageBytes is the size of an answer. Zero means that it has no body.
	PageBytes int `json:"pageBytes,omitempty"`
}

// Origin is the service. Safe for concurrent use.
type Origin struct {
	opts   Options
	client *http.Client
	file   *benchfloor.File
	page   []byte
	mux    http.ServeMux

	mu sync.RWMutex // guards what follows
	to []string
}

// Open returns the service. It makes or truncates the file.
func Open(opts Options) (*Origin, error) {
	for _, to := range opts.To {
		if _, err := url.ParseRequestURI(to); err != nil {
			return nil, err
		}
	}
	switch {
	case opts.Tell != Nobody && opts.Tell != Sequence && opts.Tell != Parallel && opts.Tell != Publish:
		return nil, fmt.Errorf("there is no way %q to tell", opts.Tell)
	case opts.Tell == Publish && len(opts.To) != 1:
		return nil, fmt.Errorf("%d topics to publish to, want one", len(opts.To))
	}
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	transport := &http.Transport{MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleExpiry, DisableCompression: true}
	o := &Origin{opts: opts, to: opts.To, client: &http.Client{Transport: transport, Timeout: opts.Timeout},
		page: bytes.Repeat([]byte("."), opts.PageBytes)}
	if opts.File != "" {
		var err error
		if o.file, err = benchfloor.OpenFile(opts.File); err != nil {
			return nil, err
		}
	}
	o.mux.HandleFunc("PUT /to", o.putTo)
	o.mux.HandleFunc("POST /happened/{subject}", o.happened)
	return o, nil
}

// ServeHTTP answers POST /happened/{subject}, whose body becomes the data of the event: 503 when it could not be stored or others could not be
// told, otherwise 200. PUT /to takes a list of URLs in place of Options.To.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.mux.ServeHTTP(w, r) }

// Close closes the file and the connections.
func (o *Origin) Close() error {
	o.client.CloseIdleConnections()
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

func (o *Origin) putTo(w http.ResponseWriter, r *http.Request) {
	var to []string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&to); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	o.to = to
	o.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (o *Origin) happened(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := o.event(r.PathValue("subject"), data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if o.file != nil {
		if err := o.file.Append(append(body, '\n')); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	// What has begun is told to all, be the client gone.
	told, err := o.tell(context.WithoutCancel(r.Context()), body)
	w.Header().Set(Told, strconv.Itoa(told))
	if err != nil {
		w.Header().Set(Failed, "yes")
		if !o.opts.Indifferent {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(o.page) // who asked is gone: nobody to tell
}

// event makes a CloudEvent in JSON of what happened.
func (o *Origin) event(subject string, data []byte) ([]byte, error) {
	return json.Marshal(struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject"`
		Data        json.RawMessage `json:"data"`
	}{"1.0", tandem.NewID(), "/origin", o.opts.Type, subject, data})
}

// tell tells the others, and returns how many of them said that they had it.
func (o *Origin) tell(ctx context.Context, body []byte) (told int, err error) {
	o.mu.RLock()
	to := o.to
	o.mu.RUnlock()
	switch o.opts.Tell {
	case Sequence, Publish:
		for _, url := range to {
			if err := o.post(ctx, url, body); err != nil {
				return told, err
			}
			told++
		}
	case Parallel:
		var g errgroup.Group
		var mu sync.Mutex
		for _, url := range to {
			g.Go(func() error {
				err := o.post(ctx, url, body)
				if err == nil {
					mu.Lock()
					told++
					mu.Unlock()
				}
				return err
			})
		}
		err = g.Wait()
	}
	return told, err
}

func (o *Origin) post(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", tandem.MediaEvent)
	res, err := o.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	res.Body.Close()
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s: %s: %.200s", url, res.Status, strings.TrimSpace(string(answer)))
	}
	return nil
}
