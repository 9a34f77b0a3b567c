package natslog

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-hybrid/tandem"
)

// minAPILevel is that of server 2.12, the first with atomic batches.
const minAPILevel = 2

// connect opens the connection. It is tried again for ever once it was there, and nothing is kept meanwhile: what could not be sent at once is
// known not to be sent.
func (e *Engine) connect() error {
	o := &e.opts
	opts := []nats.Option{
		nats.Name("tandem"), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(2 * time.Second), nats.Timeout(2 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { e.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { e.reconnected() }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			e.health.complained(err)
			e.log.Warn("NATS reports an error", "error", err)
		}),
	}
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(o.InProcess))
	}
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	if o.NKey != "" {
		key, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return tandem.Errorf(tandem.CodeInvalid, "the NKey file %s: %w", o.NKey, err)
		}
		opts = append(opts, key)
	}
	if o.User != "" {
		opts = append(opts, nats.UserInfo(o.User, string(o.Password)))
	}
	if o.Token != "" {
		opts = append(opts, nats.Token(string(o.Token)))
	}
	if o.TLS != nil {
		opts = append(opts, nats.Secure(o.TLS))
	}
	nc, err := nats.Connect(o.URL, opts...)
	if err != nil {
		return tandem.Errorf(tandem.CodeUnavailable, "no connection to NATS at %s: %w", e.where(), err).
			WithHint("check that the server runs, and the user that it knows")
	}
	e.nc = nc
	if e.js, err = jetstream.New(nc); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, o.Timeout)
	defer cancel()
	account, err := e.js.AccountInfo(ctx)
	if err != nil {
		return tandem.Errorf(tandem.CodeUnavailable, "no JetStream at %s: %w", e.where(), err).WithHint("turn JetStream on in the server, and for the account")
	}
	if account.API.Level < minAPILevel {
		return tandem.Errorf(tandem.CodeUnsupported, "the NATS server %s at %s is too old: Tandem needs 2.12 or newer", nc.ConnectedServerVersion(), e.where())
	}
	return nil
}

// where names the servers without what a URL may hold beside them.
func (e *Engine) where() string {
	if e.opts.InProcess != nil {
		return "the server in this process"
	}
	var hosts []string
	for _, s := range strings.Split(e.opts.URL, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		if u, err := url.Parse(s); err == nil {
			hosts = append(hosts, u.Host)
		} else {
			hosts = append(hosts, "(not a URL)")
		}
	}
	return strings.Join(hosts, ", ")
}

func (e *Engine) disconnected(err error) {
	if e.isClosed() {
		return
	}
	if e.health.lost(err) {
		e.log.Warn("the connection to NATS is lost; it is tried again", "servers", e.where(), "error", err)
	}
	e.spawn(e.acks.fail)
}

func (e *Engine) reconnected() {
	e.log.Info("the connection to NATS is back", "server", e.nc.ConnectedAddr())
	e.health.back()
	e.watch.all()
}
