package authentication

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/examples/shop/accounts"
	"github.com/tandem-hybrid/tandem/internal/compare"
	"github.com/tandem-hybrid/tandem/internal/process"
)

const (
	deskKind   = "login-desk"
	ledgerFile = "sessions.ndjson" // in the directory of the services: a killed desk must not forget
	unitHeader = "Unit-Id"

	typeAsked, typeAnswered = "login.asked", "login.answered"
	maxBody                 = 64 << 10
)

// login is the data of login.asked, and what POST /session takes beside the id, which is a header there.
type login struct {
	Unit     string `json:"unit,omitempty"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// answered is the data of login.answered: what POST /session would have answered.
type answered struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Data        any    `json:"data"`
}

// session is a line of the ledger: a session was opened for a unit of work.
type session struct {
	Unit string    `json:"unit"`
	At   time.Time `json:"at"`
}

// desk is the shop's accounts with a log-in by event beside that by request, and a ledger of the sessions that both opened.
type desk struct {
	*accounts.Accounts
	ledger *os.File
}

func openDesk(ctx context.Context, _ string, s process.Settings, _ *slog.Logger) (process.Service, error) {
	a, err := accounts.Open(ctx, s.Data)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.Data, ledgerFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		_ = a.Close() // of no use without the ledger
		return nil, tandem.Wrap("open the ledger of sessions", err)
	}
	return &desk{a, f}, nil
}

func (d *desk) Close() error {
	d.ledger.Close()
	return d.Accounts.Close()
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/session":
		a := d.logIn(r, r.Header.Get(unitHeader))
		for name, values := range a.header {
			w.Header()[name] = values
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // the client is gone: nobody to tell
	case "/events":
		d.take(w, r)
	default:
		d.Accounts.ServeHTTP(w, r)
	}
}

// take logs in by event. Whatever accounts answers is the reply, but that it has no time now: then the event is to come again.
func (d *desk) take(w http.ResponseWriter, r *http.Request) {
	var l login
	asked := event{Data: &l}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil || asked.Type != typeAsked {
		http.Error(w, "send "+typeAsked+" in application/cloudevents+json", http.StatusBadRequest)
		return
	}
	unit := l.Unit
	l.Unit = "" // accounts knows of no such thing
	body, err := json.Marshal(l)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "/session", bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ask.Header.Set("Content-Type", "application/json")
	a := d.logIn(ask, unit)
	if a.status == http.StatusTooManyRequests || a.status >= 500 {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	_ = json.NewEncoder(w).Encode(event{SpecVersion: "1.0", ID: asked.ID + ".answered", Source: "/accounts", Type: typeAnswered,
		Data: answered{a.status, a.body.Bytes()}}) // Tandem is gone: it will ask again
}

// logIn lets accounts answer, and notes a session that it opened before anybody hears of it.
func (d *desk) logIn(r *http.Request, unit string) *answer {
	a := &answer{header: http.Header{}, status: http.StatusOK}
	d.Accounts.ServeHTTP(a, r)
	if a.status != http.StatusOK || unit == "" {
		return a
	}
	line, err := json.Marshal(session{unit, time.Now()})
	if err == nil {
		_, err = d.ledger.Write(append(line, '\n'))
	}
	if err != nil {
		a = &answer{header: http.Header{}, status: http.StatusInternalServerError}
		a.body.WriteString(err.Error())
	}
	return a
}

// answer is what accounts answers, kept.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// readLedger reads which sessions were opened, by unit of work.
func readLedger(path string) (map[string]compare.Work, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, tandem.Wrap("read the ledger of sessions", err)
	}
	work := map[string]compare.Work{}
	for dec := json.NewDecoder(bytes.NewReader(body)); dec.More(); {
		var s session
		if err := dec.Decode(&s); err != nil {
			return nil, tandem.Wrap("read the ledger of sessions", err)
		}
		work[s.Unit] = compare.Work{State: compare.Done, At: s.At, Twice: work[s.Unit].State == compare.Done}
	}
	return work, nil
}
