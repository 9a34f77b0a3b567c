package event

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tandem-hybrid/tandem/examples/shop/internal/store"
)

// Schema is the table that Once needs: the events that took their effect, what was answered, and how often they came.
const Schema = `CREATE TABLE IF NOT EXISTS handled (
  source TEXT NOT NULL,
  id     TEXT NOT NULL,
  answer TEXT NOT NULL, -- JSON array of events
  times  INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (source, id)
) WITHOUT ROWID;`

// Effect is what an event does to a service's database, and the events that it sets off.
type Effect func(ctx context.Context, tx *sql.Tx, e Event, d Data) ([]Event, error)

// Once handles deliveries so that each event takes its effect once: the effect, the note that it happened and the answer
// are one transaction, and a repeat gets that answer again.
func Once(db *sql.DB, effect Effect) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, d, ok := Read(w, r)
		if !ok {
			return
		}
		var replies []Event
		err := store.Tx(r.Context(), db, func(tx *sql.Tx) error {
			var answer string
			err := tx.QueryRowContext(r.Context(),
				`UPDATE handled SET times = times + 1 WHERE source = ?1 AND id = ?2 RETURNING answer`, e.Source, e.ID).Scan(&answer)
			if err == nil {
				return json.Unmarshal([]byte(answer), &replies)
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if replies, err = effect(r.Context(), tx, e, d); err != nil {
				return err
			}
			body, err := json.Marshal(replies)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(r.Context(), `INSERT INTO handled (source, id, answer) VALUES (?1, ?2, ?3)`, e.Source, e.ID, string(body))
			return err
		})
		Answer(w, replies, err)
	})
}

// Deliveries is how many deliveries a service has taken, and how many of them were repeats.
type Deliveries struct {
	Taken   int64 `json:"taken"`
	Repeats int64 `json:"repeats"`
}

// Count reads the deliveries that Once has taken.
func Count(ctx context.Context, db *sql.DB) (d Deliveries, err error) {
	err = db.QueryRowContext(ctx, `SELECT COALESCE(SUM(times), 0), COALESCE(SUM(times - 1), 0) FROM handled`).Scan(&d.Taken, &d.Repeats)
	return d, err
}
