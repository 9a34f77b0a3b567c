package stream

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/internal/websocket"
)

const (
	protocol    = "tandem.v1.json"
	dialTimeout = 10 * time.Second
)

// StatusError is an answer other than that of a WebSocket.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string { return "the stream was answered with " + e.Text }

// ForGood reports whether asking again is of no use.
func (e *StatusError) ForGood() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooManyRequests
}

// Dial opens a stream: addr is host and port, target the path with its query. ctx bounds the opening alone. An answer that opens no
// stream is a *StatusError.
func Dial(ctx context.Context, addr, target string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return Open(ctx, conn, addr, target)
}

// Open is Dial over a connection that is there. It takes the connection over, and closes it when the stream cannot be opened.
func Open(ctx context.Context, conn net.Conn, addr, target string) (_ *Conn, err error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			conn.Close()
		}
	}()
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	// Routes take a WebSocket only from a page of their own origin: a program says that it is one.
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: %s\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		target, addr, addr, websocket.Version, key, protocol)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 4<<10)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	res.Body.Close() // of 101 there is none; of another answer nothing is read
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, &StatusError{res.StatusCode, res.Status}
	}
	if res.Header.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key) || res.Header.Get("Sec-WebSocket-Protocol") != protocol {
		return nil, &StatusError{res.StatusCode, "another protocol"}
	}
	return &Conn{conn: conn, in: in, parser: websocket.Parser{Client: true}}, nil
}
