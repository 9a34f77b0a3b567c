package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tandem-hybrid/tandem"
)

// postgresURL returns the URL of the server for tests.
func postgresURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("TANDEM_POSTGRES")
	if url == "" {
		t.Skip("needs PostgreSQL: run make postgres-up and export the TANDEM_POSTGRES that it prints")
	}
	return url
}

// testSchema makes a schema of its own for a test, which is gone after it.
func testSchema(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", postgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strings.ReplaceAll(tandem.NewID(), "-", "")
	if _, err := db.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec("DROP SCHEMA " + name + " CASCADE"); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return name
}

// connect opens a pool on a schema, whose connections have a name.
func connect(t testing.TB, schema, name string, mode pgx.QueryExecMode) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(postgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = schema
	config.RuntimeParams["application_name"] = name
	config.DefaultQueryExecMode = mode
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() { db.Close() })
	return db
}

func openPostgres(t testing.TB) *sql.DB {
	return connect(t, testSchema(t), "test", pgx.QueryExecModeCacheStatement)
}

// onEach runs a test on each database, and on PostgreSQL in each way in which the driver executes statements: some work
// behind a pooler of transactions and know no types.
func onEach(t *testing.T, fn func(t *testing.T, db *sql.DB)) {
	t.Run("SQLite", func(t *testing.T) { fn(t, openDB(t, t.TempDir())) })
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run("PostgreSQL/"+strings.ReplaceAll(mode.String(), " ", "_"), func(t *testing.T) { fn(t, connect(t, testSchema(t), "test", mode)) })
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(late) {
			t.Fatalf("it never came to this: %s", what)
		}
		pause(5 * time.Millisecond)
	}
}

// pause lets others work between two looks.
func pause(d time.Duration) { <-time.After(d) }

func startRelay(t testing.TB, o *Outbox) *Relay {
	t.Helper()
	r := NewRelay(o)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// quick are waits short enough for real time.
func quick(opts Options) Options {
	opts.Poll = 50 * time.Millisecond
	opts.Backoff = tandem.Backoff{Base: tandem.Duration(time.Millisecond), Max: tandem.Duration(50 * time.Millisecond)}
	return opts
}

func waiting(t testing.TB, o *Outbox) int {
	s, err := o.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Waiting
}

func TestPostgresTablesAreCreatedOnce(t *testing.T) {
	schema := testSchema(t)
	var all sync.WaitGroup
	for range 8 {
		db := connect(t, schema, "test", pgx.QueryExecModeCacheStatement)
		all.Go(func() {
			if _, err := Open(t.Context(), db, &standIn{}, Options{}); err != nil {
				t.Error(err)
			}
			if _, err := OpenInbox(t.Context(), db, 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	db := connect(t, schema, "test", pgx.QueryExecModeCacheStatement)
	if _, err := db.Exec(PostgreSQLSchema()); err != nil {
		t.Errorf("the schema once more: %v", err)
	}
	var rows int
	if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox_bucket").Scan(&rows); err != nil || rows != 64 {
		t.Errorf("%d buckets, %v", rows, err)
	}
	if _, err := db.Exec("DELETE FROM tandem_outbox_bucket"); err != nil {
		t.Fatal(err)
	}
	o := open(t, db, &standIn{}, Options{Hold: -1})
	write(t, o, event("a", "1"))
	if _, err := newBuckets(NewRelay(o)).round(t.Context(), nil); tandem.CodeOf(err) != tandem.CodePrecondition {
		t.Errorf("a relay without its buckets: %v", err)
	}
}

// The bucket is what docs/outbox.md says, so that it can be computed elsewhere.
func TestPostgresBucketsOfKeys(t *testing.T) {
	db := openPostgres(t)
	o := open(t, db, &standIn{}, Options{Hold: -1})
	write(t, o, event("customer-7", "1"), event("customer-7", "2"), event("Grüße", "1"))
	for range 10 {
		write(t, o, event("", "1"))
	}
	// The first byte of the MD5 of the key's UTF-8, mod 64.
	for key, want := range map[string]int{"customer-7": 0x0d % 64, "Grüße": 0x49 % 64} {
		var least, most int
		if err := db.QueryRow("SELECT MIN(bucket), MAX(bucket) FROM tandem_outbox WHERE key = $1", key).Scan(&least, &most); err != nil || least != want || most != want {
			t.Errorf("%s is in buckets %d to %d, want %d (%v)", key, least, most, want, err)
		}
	}
	var spread int
	if err := db.QueryRow("SELECT COUNT(DISTINCT bucket) FROM tandem_outbox WHERE key = ''").Scan(&spread); err != nil || spread != 10 {
		t.Errorf("ten rows without key are in %d buckets, want 10 (%v)", spread, err)
	}
}

// A row is all that a service in another language has to write.
func TestPostgresRowsOfOthers(t *testing.T) {
	db := openPostgres(t)
	log := &standIn{}
	o := open(t, db, log, quick(Options{}))
	insert := func(topic, key, event string) error {
		_, err := db.Exec("INSERT INTO tandem_outbox (topic, key, event) VALUES ($1, $2, $3::text::json)", topic, key, event)
		return err
	}
	for _, bad := range [][2]string{{"Orders", "{}"}, {"", "{}"}, {"a..b", "{}"}, {"orders", "[]"}, {"orders", "{"}, {"orders", ""}} {
		if err := insert(bad[0], "", bad[1]); err == nil {
			t.Errorf("the table took topic %q with event %q", bad[0], bad[1])
		}
	}
	for _, e := range []string{
		`{"specversion":"1.0","id":"1","source":"/x","type":"1","subject":"a","data":{"n":1.00,"s":"\u0000"}}`,
		`{"specversion":"1.0","source":"/x","type":"2","subject":"a"}`,
		`{"specversion":"1.0","id":"3","source":"/x","subject":"a"}`,
		`{"specversion":"1.0","id":"4","source":"/x","type":"4","subject":"a"}`,
	} {
		if err := insert("orders", "a", e); err != nil {
			t.Fatal(err)
		}
	}
	startRelay(t, o)
	eventually(t, "no row waits", func() bool { return waiting(t, o) == 0 })
	wantSent(t, log, "a1", "a4")
	wantStats(t, o, 0, 2)
	if got := string(log.stored[0].Data); got != `{"n":1.00,"s":"\u0000"}` {
		t.Errorf("data became %s", got)
	}
	var reasons string
	if err := db.QueryRow("SELECT string_agg(reason, '; ' ORDER BY id) FROM tandem_outbox").Scan(&reasons); err != nil ||
		!strings.Contains(reasons, "id") || !strings.Contains(reasons, "type") {
		t.Errorf("reasons: %s (%v)", reasons, err)
	}
}

// Two events of one key whose key is said in different ways must not overtake each other.
func TestGroupsKeepKeysTogether(t *testing.T) {
	var rows []stored
	for i, e := range []tandem.Event{event("a", "1"), event("x", "2"), event("b", "3"), event("a", "4")} {
		row := stored{Row: Row{ID: int64(i), Topic: "orders", Event: e}, key: e.Subject}
		if e.Subject == "x" {
			row.key, row.Event.Meta.Key = "a", "a"
		}
		rows = append(rows, row)
	}
	var got []string
	for _, g := range groups(rows) {
		s := g[0].Event.Meta.Key + ":"
		for _, row := range g {
			if row.Event.Meta.Key != g[0].Event.Meta.Key {
				t.Errorf("two keys in one request: %q and %q", row.Event.Meta.Key, g[0].Event.Meta.Key)
			}
			s += row.Event.Type
		}
		got = append(got, s)
	}
	if fmt.Sprint(got) != "[a:124 :3]" {
		t.Errorf("groups %v", got)
	}
}

// Who uses SQLite must not link a client of PostgreSQL, and the other way round.
func TestNoDriverIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if strings.Contains(dep, "pgx") || strings.Contains(dep, "sqlite") {
			t.Errorf("outbox links %s", dep)
		}
	}
}
