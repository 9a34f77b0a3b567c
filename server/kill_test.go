package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/benchstream"
	"github.com/tandem-hybrid/tandem/server"
)

// TestMain turns the test binary into a server, or into clients of streams, when a test asks for them in a process of their own.
func TestMain(m *testing.M) {
	benchstream.Main(map[string]benchstream.Role{roleServer: runServer})
	if dir := os.Getenv("TANDEM_TEST_SERVE"); dir != "" {
		serveUntilKilled(dir)
		return
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) {
	s, err := server.New(server.Options{Data: dir, PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1,
		Topics: []tandem.Topic{{Name: "orders", Partitions: 4}}, Sources: sourcesOfEnv(), Secrets: secretOfEnv})
	if err == nil {
		err = s.Start(context.Background())
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready", s.APIAddr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
}

// process is a server in a process of its own.
type process struct {
	cmd *exec.Cmd
	url string
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TANDEM_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the server did not start: %q %v", line, err)
	}
	return &process{cmd: cmd, url: "http://" + addr}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestKillUnderPublishers kills the server again and again while 64 publishers, each with a key of its own, send numbered
// events and send each again until it has a receipt. Afterwards every event with a receipt is there, once, in the order
// of its publisher (promises 1, 2 and 6).
//
// A kill leaves what the operating system has cached, so this proves recovery and the handling of repeats; the loss of
// unsynced data is tested in pebblelog.
func TestKillUnderPublishers(t *testing.T) {
	kills, pause := 5, 300*time.Millisecond
	if os.Getenv("TANDEM_SOAK") != "" {
		kills = 100
	}
	if testing.Short() {
		t.Skip("starts server processes: run without -short")
	}
	dir := t.TempDir()
	p := startProcess(t, dir)
	defer func() { p.kill() }()

	var mu sync.RWMutex // guards url
	url := p.url
	current := func() string {
		mu.RLock()
		defer mu.RUnlock()
		return url
	}
	const publishers = 64
	var acked [publishers]int // events with a receipt, numbered from 0
	stop := make(chan struct{})
	var done sync.WaitGroup
	for i := range publishers {
		done.Go(func() {
			for n := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				if err := publish(current(), i, n); err != nil {
					time.Sleep(5 * time.Millisecond) // a back-off, not a wait for a state
					continue
				}
				n++
				acked[i] = n
			}
		})
	}
	for range kills {
		time.Sleep(pause) // the load under which the kill comes
		p.kill()
		p = startProcess(t, dir)
		mu.Lock()
		url = p.url
		mu.Unlock()
	}
	time.Sleep(pause)
	close(stop)
	done.Wait()

	total := 0
	var next [publishers]int
	for cursor := "from=earliest"; ; {
		var page struct {
			Events []struct {
				ID   string
				Data int
			}
			Cursor string
			Gap    *tandem.Gap
		}
		getJSON(t, p.url+"/v1/topics/orders/events?limit=1000&"+cursor, &page)
		if page.Gap != nil {
			t.Fatalf("a gap: %+v", page.Gap)
		}
		if len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			key, _, _ := strings.Cut(e.ID, "-")
			i, err := strconv.Atoi(key)
			if err != nil || e.Data != next[i] {
				t.Fatalf("event %s holds %d where %d was next", e.ID, e.Data, next[i])
			}
			next[i]++
			total++
		}
		cursor = "cursor=" + page.Cursor
	}
	for i := range publishers {
		// One more than acknowledged may be there: its receipt was lost on the way.
		if next[i] != acked[i] && next[i] != acked[i]+1 {
			t.Errorf("publisher %d has %d receipts and %d events", i, acked[i], next[i])
		}
	}
	t.Logf("%d events, %d kills", total, kills)
	if total < publishers {
		t.Errorf("only %d events: the test did not put load on the server", total)
	}
}

// client keeps a connection for each publisher.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 30 * time.Second}

func publish(url string, publisher, n int) error {
	body := fmt.Sprintf(`{"specversion":"1.0","id":"%d-%d","source":"kill","type":"test","subject":"k%d","data":%d}`, publisher, n, publisher, n)
	resp, err := client.Post(url+"/v1/topics/orders/events", tandem.MediaEvent, strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, url)), into); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", url, resp.Status, err, body)
	}
	return string(body)
}
