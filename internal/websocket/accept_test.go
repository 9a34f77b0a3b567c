package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tandem-hybrid/tandem"
)

const upgrade = "GET /v1/events HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

func request(t *testing.T, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAccept(t *testing.T) {
	known := []string{"tandem.v1.json", "cloudevents.json"}
	for text, want := range map[string]string{
		upgrade: "",
		upgrade + "Sec-WebSocket-Protocol: cloudevents.json\r\n":                                              "cloudevents.json",
		upgrade + "Sec-WebSocket-Protocol: x, cloudevents.json\r\nSec-WebSocket-Protocol: tandem.v1.json\r\n": "tandem.v1.json",
		strings.Replace(upgrade, "Connection: Upgrade", "connection: keep-alive, upGRADE", 1):                 "",
		strings.Replace(upgrade, "Upgrade: websocket", "Upgrade: h2c\r\nupgrade: WebSocket", 1):               "",
	} {
		protocol, response, err := Accept(request(t, text), known...)
		if err != nil || protocol != want {
			t.Errorf("%s: %q %v", text, protocol, err)
			continue
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
		if err != nil {
			t.Fatal(err)
		}
		h := res.Header
		if res.StatusCode != 101 || h.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || h.Get("Sec-WebSocket-Protocol") != want ||
			!HasToken(h["Connection"], "upgrade") || h.Get("Upgrade") != "websocket" || (want == "") != (h["Sec-Websocket-Protocol"] == nil) {
			t.Errorf("%s", response)
		}
	}
}

func TestAcceptRefuses(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(upgrade, old, new, 1) }
	for field, texts := range map[string][]string{
		"Upgrade":                {replace("Upgrade: websocket", "Upgrade: websockets"), replace("Upgrade: websocket\r\n", ""), replace("HTTP/1.1", "HTTP/1.0")},
		"Connection":             {replace("Connection: Upgrade", "Connection: keep-alive"), replace("Connection: Upgrade\r\n", "")},
		"Sec-WebSocket-Version":  {replace("Version: 13", "Version: 8"), replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"), replace("Sec-WebSocket-Version: 13\r\n", "")},
		"Sec-WebSocket-Key":      {replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), replace("dGhlIHNhbXBsZSBub25jZQ==", "?"), upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")},
		"Sec-WebSocket-Protocol": {upgrade + "Sec-WebSocket-Protocol: chat, Tandem.v1.json\r\n"},
		"Content-Length":         {upgrade + "Content-Length: 3\r\n", upgrade + "Transfer-Encoding: chunked\r\n"},
	} {
		for _, text := range texts {
			_, response, err := Accept(request(t, text), "tandem.v1.json")
			var e *tandem.Error
			if !errors.As(err, &e) || e.Code != tandem.CodeInvalid || len(e.Fields) != 1 || e.Fields[0].Pointer != field || response != nil {
				t.Errorf("%s: %v, want one about %s", text, err, field)
			}
		}
	}
	if protocol, _, err := Accept(request(t, upgrade)); err != nil || protocol != "" { // of a server that knows none
		t.Errorf("%q %v", protocol, err)
	}
	if _, _, err := Accept(request(t, replace("GET", "POST"))); tandem.CodeOf(err) != tandem.CodeMethod {
		t.Errorf("%v", err)
	}
}
