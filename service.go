package tandem

// Service is a named upstream: plain HTTP, in any language.
type Service struct {
	Name    string   `json:"name,omitempty"`
	URL     string   `json:"url"`               // base URL, http or https; a path is put before that of the request
	Timeout Duration `json:"timeout,omitempty"` // of one request or delivery; zero means 30s for requests and 10s for deliveries
}
