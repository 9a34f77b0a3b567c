package engines

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/tandem-hybrid/tandem"
	"github.com/tandem-hybrid/tandem/eventlog/driver"
	"github.com/tandem-hybrid/tandem/eventlog/natslog"
)

// natsWorks appends through an engine with these options, and shows that without the secret there is none.
func natsWorks(t *testing.T, o natslog.Options, without func(*natslog.Options)) {
	t.Helper()
	e := openNATS(t, o)
	topic := createNATSTopic(t, e, tandem.Topic{Name: "t", Partitions: 1})
	if err := e.Append(t.Context(), &driver.Batch{Records: []driver.Record{{Topic: topic.ID, Event: natsEvent("1", "1")}}}); err != nil {
		t.Error(err)
	}
	without(&o)
	other, err := natslog.Open(t.Context(), o)
	if err == nil {
		other.Close()
	}
	if tandem.CodeOf(err) != tandem.CodeUnavailable || strings.Contains(err.Error(), "hidden") {
		t.Errorf("without the secret: %v", err)
	}
}

func natsListening(t *testing.T, change func(*server.Options)) string {
	s := natsServer(t, func(o *server.Options) {
		o.DontListen, o.Host, o.Port = false, "127.0.0.1", -1
		change(o)
	})
	return s.Addr().String()
}

func natsFile(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNATSPassword(t *testing.T) {
	addr := natsListening(t, func(o *server.Options) { o.Username, o.Password = "tandem", "hidden" })
	natsWorks(t, natslog.Options{URL: "nats://" + addr, User: "tandem", Password: "hidden"}, func(o *natslog.Options) { o.Password = "hidden?" })
}

// TestNATSPermissions: what docs/nats.md asks for is enough.
func TestNATSPermissions(t *testing.T) {
	user := &server.User{Username: "tandem", Password: "hidden", Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"tandem.>", "$JS.API.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"tandem.>", "_INBOX.>"}},
	}}
	addr := natsListening(t, func(o *server.Options) { o.Users = []*server.User{user} })
	natsWorks(t, natslog.Options{URL: "nats://" + addr, User: "tandem", Password: "hidden"}, func(o *natslog.Options) { o.Prefix, o.Timeout = "other", time.Second })
}

func TestNATSToken(t *testing.T) {
	addr := natsListening(t, func(o *server.Options) { o.Authorization = "hidden" })
	natsWorks(t, natslog.Options{URL: "nats://" + addr, Token: "hidden"}, func(o *natslog.Options) { o.Token = "" })
}

func TestNATSNKey(t *testing.T) {
	seeds := make([][]byte, 2)
	var public string
	for i := range seeds {
		key, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		seeds[i], _ = key.Seed()
		if i == 0 {
			public, _ = key.PublicKey()
		}
	}
	addr := natsListening(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	natsWorks(t, natslog.Options{URL: "nats://" + addr, NKey: natsFile(t, seeds[0])}, func(o *natslog.Options) { o.NKey = natsFile(t, seeds[1]) })
	if _, err := natslog.Open(t.Context(), natslog.Options{URL: "nats://" + addr, NKey: natsFile(t, []byte("no seed"))}); tandem.CodeOf(err) != tandem.CodeInvalid {
		t.Errorf("a file that is no seed: %v", err)
	}
}

// TestNATSCredentials: a server in operator mode, and a file of user JWT and seed.
func TestNATSCredentials(t *testing.T) {
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		key, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return key, public
	}
	encode := func(token string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	account, accountID := pair(nkeys.CreateAccount)
	_, systemID := pair(nkeys.CreateAccount)
	user, userID := pair(nkeys.CreateUser)
	opClaims := jwt.NewOperatorClaims(operatorID)
	opClaims.SystemAccount = systemID
	accClaims := jwt.NewAccountClaims(accountID)
	accClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for id, claims := range map[string]*jwt.AccountClaims{accountID: accClaims, systemID: jwt.NewAccountClaims(systemID)} {
		if err := resolver.Store(id, encode(claims.Encode(operator))); err != nil {
			t.Fatal(err)
		}
	}
	decoded, err := jwt.DecodeOperatorClaims(encode(opClaims.Encode(operator)))
	if err != nil {
		t.Fatal(err)
	}
	addr := natsListening(t, func(o *server.Options) {
		o.TrustedOperators, o.AccountResolver, o.SystemAccount = []*jwt.OperatorClaims{decoded}, resolver, systemID
	})
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(encode(jwt.NewUserClaims(userID).Encode(account)), seed)
	if err != nil {
		t.Fatal(err)
	}
	natsWorks(t, natslog.Options{URL: "nats://" + addr, Credentials: natsFile(t, creds)}, func(o *natslog.Options) { o.Credentials = "" })
}

// TestNATSTLS: the server shows a certificate that the engine checks, and asks for one.
func TestNATSTLS(t *testing.T) {
	ca, caKey := natsCert(t, "ca", nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	leaf := func(name string) tls.Certificate {
		cert, key := natsCert(t, name, ca, caKey)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	addr := natsListening(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 5
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{leaf("server")}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	})
	mutual := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{leaf("client")}, MinVersion: tls.VersionTLS12}
	natsWorks(t, natslog.Options{URL: "tls://" + addr, TLS: mutual}, func(o *natslog.Options) { o.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} })
	natsWorks(t, natslog.Options{URL: "nats://" + addr, TLS: mutual, Prefix: "second"}, func(o *natslog.Options) {
		o.TLS = &tls.Config{Certificates: mutual.Certificates, MinVersion: tls.VersionTLS12} // which does not know the authority
	})
}

// natsCert makes a certificate, of an authority or by one.
func natsCert(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ca == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		ca, caKey = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
