package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/tandem-hybrid/tandem"
)

// Version is the only version of the protocol. An answer that refuses an upgrade carries it as Sec-WebSocket-Version, so that
// a client of another version learns of it (section 4.4).
const Version = "13"

// Accept checks an upgrade request (section 4.2.1) and returns the subprotocol and the bytes of the answer to write to the connection,
// 101 with its header. protocols are those that the server knows, the best first. A client that offers none gets "". Codes:
// Invalid (Fields name the header; also for one that offers unknown protocols only), Method.
func Accept(r *http.Request, protocols ...string) (protocol string, response []byte, err error) {
	if r.Method != http.MethodGet {
		return "", nil, tandem.Errorf(tandem.CodeMethod, "a WebSocket is opened with GET")
	}
	bad := tandem.Errorf(tandem.CodeInvalid, "the upgrade to a WebSocket is invalid")
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		bad.WithHint("a WebSocket needs HTTP/1.1")
		return "", nil, bad.WithField("Upgrade", "cannot be asked for in %s", r.Proto)
	}
	if r.ContentLength != 0 { // what follows the header are frames
		bad.WithField("Content-Length", "must be absent: the request has no body")
	}
	if !HasToken(r.Header["Upgrade"], "websocket") {
		bad.WithField("Upgrade", "must be websocket")
	}
	if !HasToken(r.Header["Connection"], "upgrade") {
		bad.WithField("Connection", "must have upgrade")
	}
	if v := r.Header["Sec-Websocket-Version"]; len(v) != 1 || v[0] != Version {
		bad.WithField("Sec-WebSocket-Version", "must be "+Version)
	}
	key := r.Header["Sec-Websocket-Key"]
	if len(key) != 1 || !validKey(key[0]) {
		bad.WithField("Sec-WebSocket-Key", "must be 16 bytes in base64")
	}
	protocol, ok := choose(r.Header["Sec-Websocket-Protocol"], protocols)
	if !ok {
		bad.WithField("Sec-WebSocket-Protocol", "must offer one of %s, or be absent", strings.Join(protocols, ", "))
	}
	if len(bad.Fields) > 0 {
		return "", nil, bad
	}
	response = append(response, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	response = append(response, AcceptKey(key[0])...)
	if protocol != "" {
		response = append(response, "\r\nSec-WebSocket-Protocol: "...)
		response = append(response, protocol...)
	}
	return protocol, append(response, "\r\n\r\n"...), nil
}

// AcceptKey is the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key.
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // as section 1.3 has it; it protects nothing
	return base64.StdEncoding.EncodeToString(sum[:])
}

// HasToken reports whether the values of a header, lists separated by commas, have a token in whatever case.
func HasToken(values []string, token string) bool {
	return slices.ContainsFunc(tokens(values), func(t string) bool { return strings.EqualFold(t, token) })
}

func tokens(values []string) []string {
	var out []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.Trim(t, " \t"); t != "" {
				out = append(out, t)
			}
		}
	}
	return out
}

func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16 && len(key) == 24 // without line ends, which the decoder passes over
}

// choose returns the best known protocol that is offered, and false when some are offered and none is known.
func choose(offers, known []string) (string, bool) {
	offered := tokens(offers)
	for _, k := range known {
		if slices.Contains(offered, k) {
			return k, true
		}
	}
	return "", len(offered) == 0
}
