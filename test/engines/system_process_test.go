package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// system is a server on an engine: the real binary, so that a kill is a kill.
type system struct {
	t      *testing.T
	dir    string
	engine string
	api    string
	cmd    *exec.Cmd
}

// startSystem runs tandem serve with a configuration on an engine until the test ends. Its log is shown when the test fails.
func startSystem(t *testing.T, engine, config string) *system {
	t.Helper()
	s := &system{t: t, dir: t.TempDir(), engine: engine, api: freeAddress(t)}
	if err := os.WriteFile(filepath.Join(s.dir, "tandem.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			said, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Logf("the server's log ends:\n%s", said[max(0, len(said)-8000):])
		}
	})
	return s
}

// run starts the process and waits until it is ready.
func (s *system) run() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), binary(s.t), "serve", "--engine", s.engine, "--config", filepath.Join(s.dir, "tandem.yaml"),
		"--data", filepath.Join(s.dir, "data"), "--api", s.api, "--public", "127.0.0.1:0")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.within(time.Minute, "the server is ready", func() bool { return s.status("/readyz") == http.StatusOK })
}

// stop ends the process by a signal and waits for it.
func (s *system) stop(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // or it is gone already
	_ = s.cmd.Wait()              // how it ended is in its log
	s.cmd = nil
}

// alive reports whether the process has not ended.
func (s *system) alive() bool { return s.cmd.Process.Signal(syscall.Signal(0)) == nil }

// within fails the test unless something becomes so in time.
func (s *system) within(d time.Duration, what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(d); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// answer is what the API said; status zero means that it said nothing.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

func (s *system) do(ctx context.Context, method, path, mediaType, body string) answer {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{took: time.Since(began)}
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{took: time.Since(began)}
	}
	return answer{resp.StatusCode, resp.Header, said, time.Since(began)}
}

// status is what a GET is answered with.
func (s *system) status(path string) int {
	return s.do(s.t.Context(), http.MethodGet, path, "", "").status
}

// publish sends event N of a key.
func (s *system) publish(ctx context.Context, topic, key string, n int) answer {
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/system","type":"order.placed","subject":%q,"data":{"n":%d}}`, eventID(key, n), key, n)
	return s.do(ctx, http.MethodPost, "/v1/topics/"+topic+"/events", "application/cloudevents+json", body)
}

func eventID(key string, n int) string { return fmt.Sprintf("%s-%d", key, n) }

type systemEvent struct {
	ID, Subject, ReplyID string
	Data                 struct{ N int }
}

// events reads a topic from its start.
func (s *system) events(topic string) (all []systemEvent) {
	s.t.Helper()
	for cursor := "from=earliest"; ; {
		a := s.do(s.t.Context(), http.MethodGet, "/v1/topics/"+topic+"/events?limit=1000&"+cursor, "", "")
		var page struct {
			Events []systemEvent
			Cursor string
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			s.t.Fatalf("read %s: %d %v %s", topic, a.status, err, a.body)
		}
		if len(page.Events) == 0 {
			return all
		}
		all, cursor = append(all, page.Events...), "cursor="+page.Cursor
	}
}

// subscription is the status of one.
type subscriptionStatus struct {
	State                                             string
	Lag, InFlight, Retrying, Dead, Expired, Delivered int
}

func (s *system) subscription(name string) (st subscriptionStatus, ok bool) {
	a := s.do(s.t.Context(), http.MethodGet, "/v1/subscriptions/"+name, "", "")
	var got struct{ Status *subscriptionStatus }
	got.Status = &st
	return st, a.status == http.StatusOK && json.NewDecoder(bytes.NewReader(a.body)).Decode(&got) == nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
