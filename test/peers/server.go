package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog"
	"github.com/tandem-hybrid/tandem/eventlog/memlog"
	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/internal/stream"
	"github.com/tandem-hybrid/tandem/internal/websocket"
)

// role is that of a server in a process of its own.
const role = "peer"

// options say which server it is.
type options struct {
	Name    string // one of the names of peers_test.go
	Clients int    // that come before something is sent
	Message []byte // what is sent; Tandem makes its own
}

// command is what a server is asked. It answers with its benchstream.Usage, which is empty after it has sent.
type command struct {
	GC   bool // collect garbage first
	Send int  // hand over so many messages
}

// sender hands a message to all clients and need not wait until it is written.
type sender func(p []byte) error

// run answers for a server until in ends, and the process with it.
func run(text []byte, in io.Reader, out *json.Encoder) error {
	var opts options
	if err := json.Unmarshal(text, &opts); err != nil {
		return err
	}
	addr, send, err := start(opts)
	if err != nil {
		return err
	}
	err = out.Encode(benchstream.Ready{Addr: addr})
	for commands := json.NewDecoder(in); err == nil; {
		var c command
		if commands.Decode(&c) != nil {
			return nil // in has ended
		}
		var u benchstream.Usage
		if c.Send > 0 {
			err = send(c.Send)
		} else {
			u = benchstream.Self(c.GC)
		}
		err = errors.Join(err, out.Encode(u))
	}
	return err
}

// start starts a server and returns its address and what sends so many messages: one by one, but by the floor in one piece.
func start(opts options) (addr string, send func(n int) error, err error) {
	var handler http.HandlerFunc
	var one sender
	switch opts.Name {
	case "bare":
		bare, err := benchstream.NewBare(benchstream.BareOptions{WebSocket: true})
		if err != nil {
			return "", nil, err
		}
		frame := websocket.AppendFrame(nil, websocket.Text, opts.Message)
		return bare.Addr(), func(n int) error { bare.Send(bytes.Repeat(frame, n)); return nil }, nil
	case "tandem":
		handler, one, err = newTandem(opts.Clients)
	case "coder":
		handler, one = newCoder(opts.Clients)
	case "coder-chat":
		handler, one = newCoderChat(opts.Clients)
	case "gws":
		handler, one = newGWS(opts.Clients)
	case "gobwas", "gobwas-unread":
		handler, one = newGobwas(opts.Clients, opts.Name == "gobwas")
	}
	l, failed := net.Listen("tcp4", "127.0.0.1:0")
	if err = errors.Join(err, failed); err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return l.Addr().String(), func(n int) (err error) {
		for range n {
			err = errors.Join(err, one(opts.Message))
		}
		return err
	}, nil
}

// newTandem is the streams of a log in memory.
func newTandem(clients int) (http.HandlerFunc, sender, error) {
	const topic = "bench"
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	log, err := eventlog.Open(ctx, memlog.New(memlog.Options{}), eventlog.Options{Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	_, err = log.CreateTopic(ctx, tandem.Topic{Name: topic, Partitions: 1})
	streams := stream.New(log, stream.Options{MaxStreams: clients + 10, Logger: quiet})
	return func(w http.ResponseWriter, r *http.Request) {
			streams.Serve(w, r, tandem.StreamRequest{Topics: []string{topic}})
		}, func([]byte) error {
			_, err := log.Append(ctx, topic, []tandem.Event{{Source: "/bench", Type: "bench.event", Data: benchstream.Data(0, 0, 200)}})
			return err
		}, err
}
