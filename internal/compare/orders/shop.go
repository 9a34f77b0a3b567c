package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/tandem-hybrid/tandem"
	shop "github.com/tandem-hybrid/tandem/examples/shop"
	"github.com/tandem-hybrid/tandem/examples/shop/invoices"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

// shopTrial is a trial on the shop. Its binaries and its tandem.yaml are those of the example; the mode of the links is all that
// differs.
func shopTrial(style string, offer compare.Offer, faults []compare.FaultPlan) compare.Trial {
	params := []compare.Param{{Name: "rate", Value: rate(offer.Rate)}}
	for _, f := range faults {
		params = append(params, compare.Param{Name: "fault", Value: f.String()})
	}
	return compare.Trial{Style: style, Params: params, Takes: offer.Warmup + offer.Duration + 2*time.Second,
		Run: func(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
			return runShop(ctx, env, style, offer, faults)
		}}
}

func runShop(ctx context.Context, env *compare.Env, style string, offer compare.Offer, faults []compare.FaultPlan) (*compare.Cell, error) {
	list, err := input(env.Options.Inputs)
	if err != nil {
		return nil, err
	}
	config, err := compare.Restyle(shop.Config, style)
	if err != nil {
		return nil, err
	}
	sys, err := env.Start(ctx, process.Plan{Config: config, Services: shop.Services(), Settings: process.Settings{Seed: env.Options.Seed}})
	if err != nil {
		return nil, err
	}
	token, err := register(ctx, sys.Public)
	if err != nil {
		return nil, err
	}
	books := &ledger{dir: env.ServicesDir()}
	defer books.close()
	offer.Seed = env.Seed
	must := []string{compare.Tandem, "accounts", "orders"}
	if style == compare.Request {
		must = append(must, "inventory", "payments", "notifications")
	}
	return env.Run(ctx, compare.Job{
		Offer:  offer,
		Faults: faults,
		Attempt: func(ctx context.Context, u compare.Unit) compare.Told {
			req, err := orderRequest(ctx, sys.Public, token, list[u.Seq%len(list)], u.ID)
			if err != nil {
				return compare.Unknown
			}
			return compare.Send(env.Client, req)
		},
		Settle: func(ctx context.Context) error {
			if err := compare.Await(ctx, books.open); err != nil {
				return err
			}
			return env.Quiet(ctx)
		},
		Ledger:   books.read,
		MustBeUp: must,
	})
}

// input are the orders to place: orders.csv of a directory, or the sample that ships with the shop.
func input(dir string) ([]*invoices.Invoice, error) {
	if dir == "" {
		return invoices.Load("")
	}
	list, err := invoices.Load(filepath.Join(dir, "orders.csv"))
	if tandem.CodeOf(err) == tandem.CodeNotFound {
		return invoices.Load("")
	}
	return list, err
}

// register opens the account that all orders are placed with. Who orders is not what is compared.
func register(ctx context.Context, base string) (token string, err error) {
	body := `{"name":"customer","password":"of no use beyond loopback"}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/accounts", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", tandem.Wrap("register a customer", err)
	}
	defer res.Body.Close()
	var session struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil || session.Token == "" {
		return "", tandem.Errorf(tandem.CodeUnavailable, "register a customer: answered %s", res.Status)
	}
	return session.Token, nil
}

// orderRequest places an invoice as an order whose reference is the id of the unit of work, under which the books have it.
func orderRequest(ctx context.Context, base, token string, v *invoices.Invoice, id string) (*http.Request, error) {
	kind := "sale"
	if v.Return {
		kind = "return"
	}
	body, err := json.Marshal(map[string]any{"reference": id, "kind": kind, "lines": v.Lines})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/orders", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", id, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Idempotency-Key", id)
	return req, nil
}
