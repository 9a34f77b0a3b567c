package authentication

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

const (
	customers = 2
	// password is one that is found when it lies on a disk in clear.
	password = "correct horse battery staple, in clear"

	accountsURL = "http://127.0.0.1:9000" // in the configuration

	// Params that a cell is given beside those of its trial.
	forNobody = "for nobody" // sessions opened for who had been told nothing, or that it failed
	secretIs  = "password"
	found     = "in the log"
	notFound  = "not in the log"
)

// trial is one style under one load.
type trial struct {
	style  string
	rate   float64
	warmup time.Duration
	lasts  time.Duration
	faults []compare.FaultPlan
	config []byte

	env  *compare.Env
	base string    // of the public listener
	told *sync.Map // compare.Told by unit, without the warm-up
}

func (t trial) run(ctx context.Context, env *compare.Env) (*compare.Cell, error) {
	t.env, t.told = env, &sync.Map{}
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	job := compare.Job{
		Offer:    compare.Offer{Rate: t.rate, Warmup: t.warmup, Duration: t.lasts, Seed: env.Seed},
		Faults:   t.faults,
		Attempt:  t.logIn,
		Ledger:   func(context.Context) (map[string]compare.Work, error) { return t.ledger() },
		MustBeUp: []string{compare.Tandem, accountsName},
	}
	if t.style != compare.Request {
		job.Settle = env.Quiet
	}
	c, err := env.Run(ctx, job)
	if err != nil {
		return nil, err
	}
	work, err := t.ledger()
	if err != nil {
		return nil, err
	}
	nobody := 0
	for unit := range work {
		if told, ok := t.told.Load(unit); ok && told != compare.Accepted {
			nobody++
		}
	}
	stored, err := inClear(filepath.Join(env.Dir, "tandem"))
	if err != nil {
		return nil, err
	}
	c.Also = []compare.Param{compare.Count(forNobody, nobody), {Name: secretIs, Value: notFound}}
	if stored {
		c.Also[1].Value = found
	}
	return c, nil
}

// start starts accounts and Tandem, and registers the customers.
func (t *trial) start(ctx context.Context) error {
	url, err := t.env.Launch(ctx, accountsName, deskKind, nil)
	if err != nil {
		return err
	}
	config := bytes.Replace(t.config, []byte(accountsURL), []byte(url), 1)
	if t.style == linked {
		if config, err = compare.Restyle(config, compare.Request); err != nil {
			return err
		}
	}
	system, err := t.env.Start(ctx, process.Plan{Config: config})
	if err != nil {
		return err
	}
	t.base = system.Public
	for i := range customers {
		res, err := t.post(ctx, url+"/accounts", customer(i), "")
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusCreated {
				err = fmt.Errorf("answered %s", res.Status)
			}
		}
		if err != nil {
			return tandem.Wrap("register a customer", err)
		}
	}
	return nil
}

func customer(i int) login {
	return login{Name: "customer" + strconv.Itoa(i%customers), Password: password}
}

func (t *trial) post(ctx context.Context, url string, body any, unit string) (*http.Response, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if unit != "" {
		req.Header.Set(unitHeader, unit)
	}
	return t.env.Client.Do(req)
}

// logIn logs in, and returns whether there is a session.
func (t *trial) logIn(ctx context.Context, u compare.Unit) (told compare.Told) {
	defer func() {
		if !u.Warmup {
			t.told.Store(u.ID, told)
		}
	}()
	ask := customer(u.Seq)
	if t.style == compare.Request {
		return compare.ToldBy(t.post(ctx, t.base+"/session", ask, u.ID)) //nolint:bodyclose // ToldBy closes it
	}
	ask.Unit = u.ID
	res, err := t.post(ctx, t.base+"/logins", ask, "")
	if err != nil || res.StatusCode != http.StatusOK {
		if told = compare.ToldBy(res, err); told == compare.Accepted {
			told = compare.Unknown // 202: stored, and no session
		}
		return told
	}
	defer res.Body.Close()
	var a answered
	switch err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&a); {
	case err != nil:
		return compare.Unknown
	case a.Status == http.StatusOK:
		return compare.Accepted
	}
	return compare.Refused
}

func (t *trial) ledger() (map[string]compare.Work, error) {
	return readLedger(filepath.Join(t.env.Dir, "services", ledgerFile))
}

// inClear reports whether the password is found in a file below a directory.
func inClear(dir string) (found bool, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // the log removes files while it runs
		}
		body, err := os.ReadFile(path)
		if err == nil && bytes.Contains(body, []byte(password)) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found, tandem.Wrap("look for passwords", err)
}
