package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
)

// killDatabase is a PostgreSQL of its own, which may be killed.
type killDatabase struct {
	dir     string
	url     string
	scripts string
}

func startDatabase(t *testing.T) *killDatabase {
	t.Helper()
	if os.Getenv("TANDEM_POSTGRES") == "" {
		t.Skip("needs PostgreSQL: run make postgres-up and export the TANDEM_POSTGRES that it prints")
	}
	dir, err := os.MkdirTemp("", "tandem-kill-") // short enough for a socket, and open to the user that the database runs as
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("../../test/postgres")
	if err != nil {
		t.Fatal(err)
	}
	d := &killDatabase{dir: dir, scripts: scripts}
	t.Cleanup(func() {
		if out, err := d.script("down").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	d.up(t)
	return d
}

func (d *killDatabase) script(name string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(d.scripts, name))
	cmd.Env = append(os.Environ(), "TANDEM_POSTGRES_DIR="+d.dir)
	return cmd
}

func (d *killDatabase) up(t *testing.T) {
	cmd := d.script("up")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("start the database: %v: %s", err, &errs)
		return
	}
	_, d.url, _ = strings.Cut(strings.TrimSpace(string(out)), "TANDEM_POSTGRES=")
	d.url = strings.Trim(d.url, "'")
}

// kill is kill -9 of its first process, by its pid file; its children end when they notice.
func (d *killDatabase) kill(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(d.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Error(err)
		return
	}
	pid, err := strconv.Atoi(strings.Fields(string(b))[0])
	if err != nil {
		t.Error(err)
		return
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for syscall.Kill(pid, 0) == nil {
		<-time.After(time.Millisecond)
	}
}

// killRelay is a process "tandem relay" that is started again whenever it has ended.
type killRelay struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	killed bool
	ended  chan struct{}
	starts int
	log    *lockedBuffer // of the process that runs
}

// lockedBuffer is written by a process and read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// relaying reports whether the process is through with starting: before, it is not told to stop but stopped.
func (r *killRelay) relaying() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log != nil && strings.Contains(r.log.String(), "relaying")
}

// keep runs the process until ctx is done, which is a SIGTERM.
func (r *killRelay) keep(ctx context.Context, t *testing.T, self string, env []string) {
	defer close(r.ended)
	for ctx.Err() == nil {
		cmd := exec.Command(self, "relay", "--database", "env:KILL_DATABASE", "--poll", "20ms", "--log-level", "info")
		cmd.Env = env
		log := new(lockedBuffer)
		cmd.Stderr = log
		r.mu.Lock()
		r.cmd, r.killed, r.log = cmd, false, log
		r.starts++
		err := cmd.Start()
		r.mu.Unlock()
		if err != nil {
			t.Error(err)
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		err = cmd.Wait()
		stop()
		r.mu.Lock()
		killed := r.killed
		r.mu.Unlock()
		var exit *exec.ExitError
		switch {
		case killed:
		case errors.As(err, &exit) && exit.ExitCode() == exitUnavailable && ctx.Err() == nil: // started while the database was away
			<-time.After(50 * time.Millisecond)
		case err != nil || ctx.Err() == nil:
			t.Errorf("a relay ended by itself: %v\n%s", err, log)
		case !strings.Contains(log.String(), "stopped"):
			t.Errorf("a relay that was told to stop did not say so: %s", log)
		}
	}
}

func (r *killRelay) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil && r.cmd.Process != nil {
		r.killed = true
		_ = r.cmd.Process.Kill()
	}
}

const killKeys = 100

// killServices writes rows in transactions that overlap, until at least rows are committed. A ledger counts for each key in
// the same transaction, so that it knows what was committed whatever became of the answers.
func killServices(ctx context.Context, db *sql.DB, rows int, committed *atomic.Int64) {
	most := max(3, rows/8/500)
	var all sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewPCG(2, uint64(w)))
		all.Go(func() {
			for committed.Load() < int64(rows) && ctx.Err() == nil {
				n, err := killChange(ctx, db, rnd, most)
				if err != nil { // the database is away
					<-time.After(20 * time.Millisecond)
				}
				committed.Add(int64(n))
			}
		})
	}
	all.Wait()
}

func killChange(ctx context.Context, db *sql.DB, rnd *rand.Rand, most int) (int, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	keys := []int{rnd.IntN(killKeys), rnd.IntN(killKeys), rnd.IntN(killKeys)}
	slices.Sort(keys)
	total := 0
	for _, k := range keys {
		n := 1 + rnd.IntN(most)
		if _, err := tx.ExecContext(ctx, `WITH l AS (UPDATE ledger SET n = n + $2::int WHERE key = $1 RETURNING n)
			INSERT INTO tandem_outbox (topic, key, event) SELECT 'orders', $1, json_build_object('specversion', '1.0', 'id', gen_random_uuid(),
				'source', '/shop', 'type', 'n.' || i, 'subject', $1::text, 'data', json_build_object('n', i)) FROM l, generate_series(l.n - $2::int + 1, l.n) i ORDER BY i`,
			fmt.Sprint("k", k), n); err != nil {
			return 0, err
		}
		total += n
		if rnd.IntN(4) == 0 {
			<-time.After(time.Duration(rnd.IntN(int(time.Millisecond))))
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, err // it may be committed: the ledger knows
	}
	return total, nil
}

// Four relays, which are killed with -9, as is the database, while services write: every committed row is stored once, in
// the order of its key. A thousand rows and one kill of each kind, a million and kills all the time in the soak; rows by
// TANDEM_OUTBOX_ROWS.
func TestRelayKills(t *testing.T) {
	d := startDatabase(t)
	rows := 1000
	soak := os.Getenv("TANDEM_SOAK") != ""
	if soak {
		rows = 1_000_000
	}
	if s := os.Getenv("TANDEM_OUTBOX_ROWS"); s != "" {
		rows, _ = strconv.Atoi(s)
		soak = rows >= 100_000
	}
	t.Chdir(t.TempDir())
	serve(t)
	db, err := sql.Open("pgx", d.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(must(t, "relay", "--print-schema") + "; CREATE TABLE ledger (key text PRIMARY KEY, n int NOT NULL); INSERT INTO ledger SELECT 'k' || i, 0 FROM generate_series(0, 99) i"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	env := append(os.Environ(), "TANDEM_TEST_COMMAND=1", "KILL_DATABASE="+d.url)
	relays := make([]*killRelay, 4)
	for i := range relays {
		relays[i] = &killRelay{ended: make(chan struct{})}
		go relays[i].keep(ctx, t, self, env)
	}
	begin := time.Now()
	var committed atomic.Int64
	writing := make(chan struct{})
	writeCtx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(rows)*time.Millisecond)
	defer cancel()
	go func() { defer close(writing); killServices(writeCtx, db, rows, &committed) }()
	relayKills, databaseKills := killAll(t, d, relays, &committed, writing, rows, soak)
	<-writing
	wrote := time.Since(begin)
	awaitEmpty(t, db)
	took := time.Since(begin)
	for _, r := range relays {
		for late := time.Now().Add(30 * time.Second); !r.relaying(); <-time.After(5 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatal("a relay does not start")
			}
		}
	}
	stop()
	for _, r := range relays {
		<-r.ended
	}
	t.Logf("relays stopped after %s", time.Since(begin).Round(time.Millisecond))
	t.Logf("%d kills of relays, %d of the database; written in %s, all stored after %s", relayKills, databaseKills, wrote.Round(time.Millisecond), took.Round(time.Millisecond))
	wantLedgerStored(t, db, rows)
	t.Logf("compared after %s", time.Since(begin).Round(time.Millisecond))
}

// killAll kills by how far the services are: a relay at each quarter and the database at the half; in the soak a relay every
// second and the database every ten.
func killAll(t *testing.T, d *killDatabase, relays []*killRelay, committed *atomic.Int64, writing <-chan struct{}, rows int, soak bool) (ofRelays, ofDatabase int) {
	database := func() {
		d.kill(t)
		ofDatabase++
		d.up(t)
	}
	if !soak {
		for quarter := 1; quarter < 4; quarter++ {
			for committed.Load() < int64(rows*quarter/4) {
				select {
				case <-writing:
					t.Errorf("the services wrote %d rows", committed.Load())
					return ofRelays, ofDatabase
				case <-time.After(time.Millisecond):
				}
			}
			relays[quarter].kill()
			ofRelays++
			if quarter == 2 {
				database()
			}
		}
		return ofRelays, ofDatabase
	}
	for i := 1; ; i++ {
		select {
		case <-writing:
			return ofRelays, ofDatabase
		case <-time.After(time.Second):
		}
		relays[i%4].kill()
		ofRelays++
		if i%10 == 0 {
			database()
		}
	}
}

func awaitEmpty(t *testing.T, db *sql.DB) {
	t.Helper()
	last, since := -1, time.Now()
	for {
		n := -1
		if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox").Scan(&n); err == nil && n == 0 {
			return
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > time.Minute {
			t.Fatalf("%d rows wait, and nothing happens", n)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// wantLedgerStored reads the topic and compares it with the ledger.
func wantLedgerStored(t *testing.T, db *sql.DB, atLeast int) {
	t.Helper()
	cl, err := client.New(os.Getenv("TANDEM_API_URL"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stored, n := make(map[string]int), 0
	for q := (client.Query{Topics: []string{"orders"}, Start: tandem.Start{Earliest: true}, Limit: 1000}); ; {
		page, err := cl.Read(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			stored[e.Subject]++
			if want := fmt.Sprint("n.", stored[e.Subject]); e.Type != want {
				t.Fatalf("%s: event %d of the key is %s", e.Subject, stored[e.Subject], e.Type)
			}
			n++
		}
		if len(page.Events) == 0 {
			break
		}
		q.Start = tandem.Start{Cursor: page.Cursor}
	}
	rows, err := db.Query("SELECT key, n FROM ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	sum := 0
	for rows.Next() {
		var key string
		var count int
		if err := rows.Scan(&key, &count); err != nil {
			t.Fatal(err)
		}
		if stored[key] != count {
			t.Errorf("%s: %d events stored, %d in the ledger", key, stored[key], count)
		}
		sum += count
	}
	if err := rows.Err(); err != nil || sum != n || sum < atLeast {
		t.Errorf("%d events stored, %d in the ledger, %v", n, sum, err)
	}
	t.Logf("%d events, each once and in the order of its key", n)
}
