package orders

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// stepWork is how long each service of a chain takes.
const stepWork = 5 * time.Millisecond

// chain is a trial on a chain of plain services, each of which takes stepWork and sets off the next.
func chain(style string, length int, offer compare.Offer) compare.Trial {
	return compare.Trial{
		Style:  style,
		Params: []compare.Param{{Name: "chain", Value: fmt.Sprint(length)}, {Name: "rate", Value: rate(offer.Rate)}},
		Takes:  offer.Warmup + offer.Duration,
		Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			return runChain(ctx, env, style, length, offer)
		},
	}
}

func runChain(ctx context.Context, env *compare.Env, style string, length int, offer compare.Offer) (*compare.Cell, error) {
	var names []string
	urls := map[string]string{}
	for i := range length {
		name := fmt.Sprintf("step-%d", i+1)
		target, err := env.Launch(ctx, name, stepKind, stepSettings{Step: i + 1, Last: i+1 == length, Work: stepWork})
		if err != nil {
			return nil, err
		}
		names, urls[name] = append(names, name), target
	}
	sys, err := env.Start(ctx, process.Plan{Config: chainConfig(style, names), URLs: urls})
	if err != nil {
		return nil, err
	}
	offer.Seed = env.Seed
	must := []string{compare.Tandem}
	if style == compare.Request {
		must = append(must, names...)
	}
	return env.Run(ctx, compare.Job{
		Offer: offer,
		Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, sys.Public+"/work", bytes.NewReader([]byte(`{"unit":"`+u.ID+`"}`)))
			if err != nil {
				return compare.Unknown
			}
			req.Header.Set("Content-Type", "application/json")
			return compare.Send(env.Client, req)
		},
		Settle:   env.Quiet,
		Ledger:   func(context.Context) (map[string]compare.Work, error) { return readSteps(env.ServicesDir(), names) },
		MustBeUp: must,
	})
}

// chainConfig joins the services: each takes what the one before it answers.
func chainConfig(style string, names []string) []byte {
	var b bytes.Buffer
	b.WriteString("topics:\n  work: {partitions: 8}\n")
	b.WriteString("routes:\n  - {match: \"POST /work\", topic: work, type: step.1, key: data.unit}\n")
	b.WriteString("services:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s: {url: \"http://127.0.0.1:1\"}\n", name)
	}
	b.WriteString("subscriptions:\n")
	for i, name := range names {
		fmt.Fprintf(&b, "  %s: {topics: [work], filter: {type: step.%d}, service: %s, path: /events, mode: %s, from: earliest, concurrency: 64}\n",
			name, i+1, name, style)
	}
	return b.Bytes()
}

func rate(perSecond float64) string { return fmt.Sprintf("%g/s", perSecond) }
