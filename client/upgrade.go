package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// socketProtocol is the subprotocol of the frames that a socket sends and takes.
const socketProtocol = "tandem.v1.json"

// upgrade opens a WebSocket by way of the HTTP client, so that its proxies, certificates and dialer are used. The
// connection is the caller's; ctx bounds the opening alone.
func (c *Client) upgrade(ctx context.Context, r call) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	r.header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {websocket.Version},
		"Sec-Websocket-Key": {key}, "Sec-Websocket-Protocol": {socketProtocol}}
	res, err := c.send(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	if err := checkUpgrade(r, res, key); err != nil {
		res.Body.Close()
		return nil, err
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		res.Body.Close()
		return nil, &tandem.Error{Code: tandem.CodeInvalid, Op: r.op(), Err: errWrapped,
			Hint: "give Options.HTTP no Timeout, and a transport that leaves the Body of answers with 101 as it is"}
	}
	return conn, nil
}

var (
	errWrapped     = errors.New("the HTTP client does not let go of the connection")
	errNoHandshake = errors.New("the answer to the upgrade is not that of a WebSocket")
	errNoProtocol  = errors.New("the answer to the upgrade does not choose " + socketProtocol)
)

// checkUpgrade checks the answer to an upgrade (RFC 6455, section 4.1).
func checkUpgrade(r call, res *http.Response, key string) error {
	e := tandem.Errorf(tandem.CodeUnsupported, "answered %s to an upgrade", res.Status).
		WithHint("does something in between not pass WebSocket on?")
	e.Op = r.op()
	h := res.Header
	switch {
	case res.StatusCode != http.StatusSwitchingProtocols:
	case !websocket.HasToken(h["Connection"], "upgrade"), !strings.EqualFold(h.Get("Upgrade"), "websocket"),
		h.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key), h.Get("Sec-WebSocket-Extensions") != "":
		e.Err = errNoHandshake
	case h.Get("Sec-WebSocket-Protocol") != socketProtocol:
		e.Err = errNoProtocol
	default:
		return nil
	}
	return e
}
