package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/internal/config"
	"github.com/tandem-hybrid/tandem/outbox"
)

// reference returns what env:NAME or file:PATH refers to, and any other value as it is.
func reference(s string) (string, error) {
	if strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "file:") {
		return config.Secret(s)
	}
	return s, nil
}

// open opens the database, checks that it answers and has the tables, and says where it is without a secret.
func (c *relayCmd) open(ctx context.Context) (*sql.DB, string, error) {
	if c.Database == "" {
		return nil, "", tandem.Errorf(tandem.CodeInvalid, "--database is missing").WithHint("name the service's database: --database env:DATABASE_URL")
	}
	dsn, err := reference(c.Database)
	if err != nil {
		return nil, "", tandem.Wrap("read the database's URL", err)
	}
	pg, err := parseDatabase(dsn)
	if err != nil {
		return nil, "", err
	}
	where := fmt.Sprintf("%s@%s:%d/%s", pg.User, pg.Host, pg.Port, pg.Database)
	db := openPool(pg, c.Parallel+2) // to look for rows, and to count them
	if err := c.prepare(ctx, db); err != nil {
		db.Close()
		return nil, "", tandem.Wrap("open the database "+where, databaseError(err))
	}
	return db, where, nil
}

func openPool(pg *pgx.ConnConfig, connections int) *sql.DB {
	db := stdlib.OpenDB(*pg)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// parseDatabase reads the URL of a database. A password in it is in no error.
func parseDatabase(dsn string) (*pgx.ConnConfig, error) {
	pg, err := pgx.ParseConfig(dsn)
	if err != nil {
		u, bad := url.Parse(dsn)
		cause := errors.Unwrap(err)
		if password, has := passwordOf(u); bad != nil || u.Host == "" || cause == nil || has && strings.Contains(cause.Error(), password) {
			cause = errors.New("it is not understood")
		}
		return nil, tandem.Errorf(tandem.CodeInvalid, "the URL of the database: %w", cause).WithHint("write postgres://USER:PASSWORD@HOST:PORT/NAME, with what is special in the password percent-encoded")
	}
	if !strings.Contains(dsn, "default_query_exec_mode") {
		pg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // no named statements, which poolers of transactions lose
	}
	if pg.RuntimeParams["application_name"] == "" {
		pg.RuntimeParams["application_name"] = "tandem relay"
	}
	if pg.ConnectTimeout == 0 {
		pg.ConnectTimeout = 10 * time.Second
	}
	return pg, nil
}

// shown is a URL without its password.
func shown(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "?"
	}
	return u.Redacted()
}

func passwordOf(u *url.URL) (string, bool) {
	if u == nil || u.User == nil {
		return "", false
	}
	password, has := u.User.Password()
	return password, has && password != ""
}

// prepare creates the tables if that is wanted, and checks that they are there.
func (c *relayCmd) prepare(ctx context.Context, db *sql.DB) error {
	if c.Init {
		if _, err := outbox.Open(ctx, db, nil, outbox.Options{}); err != nil {
			return err
		}
		_, err := outbox.OpenInbox(ctx, db, 0)
		return err
	}
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('tandem_outbox') IS NOT NULL AND to_regclass('tandem_outbox_bucket') IS NOT NULL").Scan(&there); err != nil {
		return err
	}
	if !there {
		return tandem.Errorf(tandem.CodeNotFound, "it has no tables tandem_outbox and tandem_outbox_bucket on its search_path").
			WithHint("create them with --init, or by: tandem relay --print-schema | psql URL")
	}
	return nil
}

// databaseError gives an error of PostgreSQL the code that its exit status goes by.
func databaseError(err error) error {
	var known *tandem.Error
	if errors.As(err, &known) && known.Code != tandem.CodeInternal {
		return err
	}
	code := tandem.CodeUnavailable // no connection, or it broke
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case strings.HasPrefix(pg.Code, "28"), pg.Code == "42501":
			code = tandem.CodeForbidden
		case strings.HasPrefix(pg.Code, "3D"), strings.HasPrefix(pg.Code, "42"):
			code = tandem.CodeNotFound
		}
	}
	if known != nil {
		return &tandem.Error{Code: code, Op: known.Op, Err: known.Err}
	}
	return &tandem.Error{Code: code, Err: err}
}
