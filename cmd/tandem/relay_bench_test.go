package main

import (
	"context"
	"database/sql"
	"os"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/client"
	"github.com/tandem-hybrid/tandem/outbox"
	"github.com/tandem-hybrid/tandem/server"
)

// nowhere is a log that takes everything at once.
type nowhere struct{}

func (nowhere) Publish(_ context.Context, _ string, events ...tandem.Event) ([]tandem.Receipt, error) {
	receipts := make([]tandem.Receipt, len(events))
	for i := range events {
		receipts[i].ID = events[i].ID
	}
	return receipts, nil
}

// BenchmarkRelay sends a backlog of 1,000 keys with 4 batches at a time: to a server, to nowhere, and, as the floor, by what
// anybody would write: the statements that lock a bucket, read its rows and delete them, and nothing between.
func BenchmarkRelay(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		db := backlog(b)
		measure(b, func() { bareRelay(b, db) })
	})
	b.Run("nowhere", func(b *testing.B) {
		db := backlog(b)
		measure(b, func() { relayAll(b, db, nowhere{}) })
	})
	b.Run("Tandem", func(b *testing.B) {
		srv, err := server.New(server.Options{Data: b.TempDir(), PublicAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", FreeBytes: -1, AutoCreate: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := srv.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer srv.Stop(context.Background())
		cl, err := client.New("http://"+srv.APIAddr(), client.Options{Retries: -1})
		if err != nil {
			b.Fatal(err)
		}
		db := backlog(b)
		measure(b, func() { relayAll(b, db, cl) })
	})
}

// backlog returns a database with a row for each iteration, of about 400 bytes.
func backlog(b *testing.B) *sql.DB {
	b.Helper()
	if os.Getenv("TANDEM_POSTGRES") == "" {
		b.Skip("needs PostgreSQL: run make postgres-up and export the TANDEM_POSTGRES that it prints")
	}
	schema := "b" + strings.ReplaceAll(tandem.NewID(), "-", "")
	pg, err := parseDatabase(os.Getenv("TANDEM_POSTGRES") + "&search_path=" + schema)
	if err != nil {
		b.Fatal(err)
	}
	db := openPool(pg, 6)
	if _, err := db.Exec("CREATE SCHEMA " + schema + "; " + outbox.PostgreSQLSchema()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if _, err := db.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			b.Error(err)
		}
		db.Close()
	})
	if _, err := db.Exec(`INSERT INTO tandem_outbox (topic, key, event) SELECT 'orders', 'k' || i % 1000, json_build_object('specversion', '1.0',
		'id', gen_random_uuid(), 'source', '/shop', 'type', 'order.placed', 'subject', 'k' || i % 1000, 'data', json_build_object('n', i, 'text', repeat('x', 200)))
		FROM generate_series(1, $1::int) i`, b.N); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec("VACUUM ANALYZE tandem_outbox; CHECKPOINT"); err != nil && !strings.Contains(err.Error(), "transaction block") {
		b.Fatal(err)
	}
	return db
}

// measure runs fn and reports its rate and the most heap that was in use meanwhile.
func measure(b *testing.B, fn func()) {
	b.Helper()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		var most uint64
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	fn()
	b.StopTimer()
	close(stop)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(<-peak)/1e6, "MB-heap-peak")
}

func relayAll(b *testing.B, db *sql.DB, pub outbox.Publisher) {
	n := &counting{pub: pub}
	box, err := outbox.Open(b.Context(), db, n, outbox.Options{Poll: 10 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	relay := outbox.NewRelay(box)
	if err := relay.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n.sent.Load() < int64(b.N) {
		<-time.After(time.Millisecond)
	}
	if err := relay.Stop(context.Background()); err != nil {
		b.Error(err)
	}
	if s, err := box.Stats(b.Context()); err != nil || s.Waiting != 0 || s.SetAside != 0 {
		b.Errorf("left: %+v, %v", s, err)
	}
}

// bareRelay is four loops of SQL.
func bareRelay(b *testing.B, db *sql.DB) {
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for empty := 0; empty < 64; {
				for i := range 64 {
					n, err := bareBatch(b.Context(), db, (i+w*16)%64)
					if err != nil {
						b.Error(err)
						return
					}
					if n == 0 {
						empty++
					} else {
						empty = 0
					}
				}
			}
		})
	}
	all.Wait()
	var left int
	if err := db.QueryRow("SELECT COUNT(*) FROM tandem_outbox").Scan(&left); err != nil || left != 0 {
		b.Errorf("left: %d, %v", left, err)
	}
}

func bareBatch(ctx context.Context, db *sql.DB, bucket int) (int, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	var locked int
	err = tx.QueryRowContext(ctx, "SELECT bucket FROM tandem_outbox_bucket WHERE bucket = $1 FOR UPDATE SKIP LOCKED", bucket).Scan(&locked)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT id, topic, key, event::text FROM tandem_outbox WHERE bucket = $1 AND reason IS NULL ORDER BY id LIMIT 500", bucket)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		var topic, key string
		var event []byte
		if err := rows.Scan(&id, &topic, &key, &event); err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM tandem_outbox WHERE id = ANY($1)", ids); err != nil {
		return 0, err
	}
	return len(ids), tx.Commit()
}
