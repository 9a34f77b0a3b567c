package server

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/auth"
	"github.com/tandem-hybrid/tandem/internal/gateway"
	"github.com/tandem-hybrid/tandem/internal/source"
	"github.com/tandem-hybrid/tandem/internal/stream"
)

// Defaults of Options.
const (
	DefaultData          = "./tandem-data"
	DefaultPublicAddr    = ":8080"
	DefaultDevPublicAddr = "127.0.0.1:8080" // without a configuration file
	DefaultAPIAddr       = "127.0.0.1:8090"
)

// Options say what a Server serves. The zero value is a developer's set-up: everything on loopback, topics created when
// they are first published to.
type Options struct {
	// Data is the directory of the embedded log, or of what is known beside another engine; created when absent. Empty means DefaultData.
	Data string
	// Engine is where events are stored.
	Engine Engine
	// PublicAddr and APIAddr are host:port; port 0 picks a free one. Empty means DefaultDevPublicAddr and DefaultAPIAddr.
	// An API address beyond loopback needs Tokens.
	PublicAddr string
	APIAddr    string
	Tokens     []auth.Token

	// FreeBytes is the mark of free space below which publishing is refused. Zero means the larger of 5 % of the volume
	// and 512 MiB; negative disables.
	FreeBytes int64
	// MaxEventBytes is the largest event; zero means tandem.DefaultMaxEventBytes.
	MaxEventBytes int
	// Egress names what subscriptions that the API declares may reach beside public addresses: prefixes (10.1.0.0/16), addresses
	// and hosts. URLs of the file may lead anywhere.
	Egress []string
	// The ledger of a subscription goes back LedgerAge, or as far as LedgerBytes allow. Zero means tandem.DefaultLedgerAge and
	// tandem.DefaultLedgerBytes; negative keeps none.
	LedgerAge   time.Duration
	LedgerBytes int64
	// The index of flows goes back FlowAge, or as far as FlowBytes allow. Zero means tandem.DefaultFlowAge and tandem.DefaultFlowBytes;
	// negative FlowBytes keep none.
	FlowAge   time.Duration
	FlowBytes int64
	// Traces is the OpenTelemetry collector that spans are sent to, over OTLP/HTTP, as a URL without /v1/traces. Empty sends none, and traces
	// are passed on as they are. Of the traces that begin here TracesSample are sampled, from above 0 to 1; zero means all of them, negative
	// none. Others are if their parents are.
	Traces       string
	TracesSample float64
	// AccessLog writes a line for each request of the public listener that failed, with status 500 and above or without an answer, and
	// for this share of the others: AccessSample, above 0 to 1. Zero means all of them; negative none.
	AccessLog    bool
	AccessSample float64
	// RequestTimeout is the deadline of a request chain; zero means chain.DefaultTimeout.
	RequestTimeout time.Duration
	// Streams bound streams and say how they behave. Logger and MaxEventBytes are those of the server.
	Streams stream.Options
	// AutoCreate lets a topic come into being when it is first published to.
	AutoCreate bool

	// What the file declares. It owns these names: the API answers 409 to changing them.
	Services      []tandem.Service
	Topics        []tandem.Topic
	Routes        []gateway.Route
	Subscriptions []tandem.Subscription
	Sources       []source.Source

	// Secrets resolves a reference such as env:NAME or file:PATH. Nil refuses every reference.
	Secrets func(ref string) (string, error)
	// Load reads the configuration again, for Reload. Nil means that there is nothing to reload.
	Load func(ctx context.Context) (Options, error)

	Logger  *slog.Logger // nil discards
	Version string       // shown by /v1 and in metrics

	// Listen opens a listener; nil means net.Listen. Tests and embedding programs bring their own.
	Listen func(network, addr string) (net.Listener, error)
}
