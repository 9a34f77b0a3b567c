package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
)

// TestStreamsInABrowser: pages that a plain service made, in a real browser, follow streams of the same origin with what browsers have,
// EventSource and WebSocket, and with the browser module, while the server is killed and stopped: js/streams_browser.mjs tells what happens.
func TestStreamsInABrowser(t *testing.T) {
	browser := chromium(t)
	if _, err := os.Stat("js/node_modules/playwright-core"); err != nil {
		t.Skip("the npm packages are not installed: run these tests with make interop")
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>A page</title>") // the browser is still there
	}))
	defer pages.Close()
	s := start(t, `
services:
  pages: {url: `+pages.URL+`}
topics:
  orders: {}
  chat: {}
routes:
  - {match: "GET /", service: pages}
  - {match: "GET /client.js", client: true}
  - {match: "GET /events", stream: {topics: [orders]}}
  - {match: "GET /chat", stream: {topics: [chat], publish: {topic: chat, type: chat.said}}}
`)
	p := run(t, "node", "js/streams_browser.mjs", browser, "http://"+s.public, "http://"+s.api)
	for {
		switch line := p.next(); line {
		case "kill":
			s.stop(syscall.SIGKILL)
		case "stop":
			s.stop(syscall.SIGTERM)
		case "start":
			s.run()
		case "done":
			return
		default:
			t.Fatal(line)
		}
		p.tell("")
	}
}
