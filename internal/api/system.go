package api

import (
	_ "embed"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/httpx"
)

//go:embed openapi.json
var openapiDocument []byte

func (a *API) openapi(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	h := c.w.Header()
	etag := `"` + tandem.DerivedID(string(openapiDocument)) + `"`
	if httpx.NotModified(&c.w, c.r, etag, httpx.CacheRevalidate) {
		return nil
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = c.w.Write(openapiDocument)
	return nil
}

func (a *API) operation(c *call) error {
	if a.opts.Operations == nil {
		return notSupported("an operation")
	}
	a.opts.Operations.Serve(&c.w, c.r, c.arg)
	return nil
}

// Configuration is what is in force of the file, beside topics and subscriptions.
type Configuration struct {
	File      bool            `json:"file"` // there is one, which can be read again
	Since     string          `json:"since"`
	Later     []string        `json:"later,omitempty"`   // keys with other values in the file, which hold from the next start on
	Refused   *tandem.Problem `json:"refused,omitempty"` // of the last reload; nil when that took effect
	RefusedAt string          `json:"refusedAt,omitempty"`

	Services []tandem.Service `json:"services"`
	Routes   []any            `json:"routes"` // as in the file
	Sources  []SourceLink     `json:"sources"`
}

// SourceLink is a queue whose messages become events of a topic.
type SourceLink struct {
	Name  string `json:"name"`
	Queue string `json:"queue"`
	Topic string `json:"topic"`
}

func (a *API) config(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	return a.document(c, func() (any, string, error) {
		doc := Configuration{Since: a.began.UTC().Format(time.RFC3339)}
		if a.opts.Config != nil {
			doc = a.opts.Config.Show()
		}
		// A list without members is an empty one.
		doc.Services = append([]tandem.Service{}, doc.Services...)
		doc.Routes = append([]any{}, doc.Routes...)
		doc.Sources = append([]SourceLink{}, doc.Sources...)
		return &doc, "", nil
	})
}

func (a *API) reload(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if a.opts.Config == nil {
		return tandem.Errorf(tandem.CodeConflict, "there is no configuration file to read again").WithHint("start the server with --config")
	}
	if err := a.opts.Config.Reload(c.r.Context()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) serveMetrics(c *call) error {
	a.metrics.handler.ServeHTTP(&c.w, c.r)
	return nil
}

// livez says that the process answers.
func (a *API) livez(c *call) error {
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, map[string]bool{"live": true})
	return nil
}

// readyz says whether events can be published. It is also for probes that have no token, so its reason names no names.
func (a *API) readyz(c *call) error {
	if err := a.ready(); err != nil {
		p := tandem.ProblemOf(err)
		return tandem.Errorf(tandem.CodeUnavailable, "not ready: %s", p.Detail).WithHint("%s", p.Hint)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	httpx.WriteJSON(&c.w, http.StatusOK, map[string]bool{"ready": true})
	return nil
}
