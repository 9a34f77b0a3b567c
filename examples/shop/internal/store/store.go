// Package store opens the SQLite database that a service of the shop keeps for itself.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "github.com/ncruces/go-sqlite3/driver" // "sqlite3", without a C compiler
)

// Open opens, or creates, NAME.db in a directory and executes the schema, which must be repeatable. A commit is on the
// disk when it returns.
func Open(ctx context.Context, dir, name, schema string) (*sql.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(filepath.Join(dir, name+".db"))}
	db, err := sql.Open("sqlite3", path.String()+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return nil, err
	}
	// SQLite has one writer. Waiting in line for one connection is fair and needs no polling for the lock.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s.db: %w", name, err)
	}
	return db, nil
}

// Tx runs fn in a transaction, which is committed unless fn returns an error.
func Tx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}
