package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"balhost/host/internal/credential"
	"balhost/sdk/message"
)

// certificate is a certificate for name with its key, in PEM.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// publicKeys is a JSON Web Key Set with one key.
func publicKeys(t *testing.T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// gatewayFolder is a folder with the files that a gateway can name.
func gatewayFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate(t, "localhost")
	_, other := certificate(t, "localhost")
	for name, text := range map[string]string{
		"tls.crt": cert, "tls.key": key, "other.key": other, "jwks.json": publicKeys(t), "text": "no PEM", "empty.json": `{"keys":[]}`, "dev-1.key": "the secret of dev-1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// gated is a file with a session that has a gateway alone. Without a listen in body it
// listens on this machine.
func gated(body string) string {
	if !strings.Contains(body, "listen") {
		body = "listen = \"127.0.0.1:8443\"\n" + body
	}
	return "session \"main\" {\n  sender_id = \"1\"\n  gateway {\n" + body + "\n  }\n}\n"
}

const (
	static = "auth \"static\" {\n token = \"hunter2\"\n}\n"
	pair   = "tls {\n cert_file = \"tls.crt\"\n key_file = \"tls.key\"\n}\n"
)

func TestGatewayArrives(t *testing.T) {
	dir := gatewayFolder(t)
	cfg, err := Parse(filepath.Join(dir, "config.hcl"), []byte(gated(`
listen          = "0.0.0.0:8443"
trusted_proxies = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
proxy_protocol  = "true"
cors_origins    = ["https://chat.example.com", "http://localhost:3000", "capacitor://localhost"]
max_connections = 5
rate            = 6
tls {
  cert_file = "tls.crt"
  key_file  = "tls.key"
}
auth "static" {
  token    = env("TOKEN")
  insecure = true
}
auth "jwt" {
  jwks           = "jwks.json"
  issuer         = "https://login.example.com"
  audience       = "app"
  from_claim     = "device"
  category_claim = "app"
  app_check      = { project_number = 7, apps = ["1:7:android:a"], jwks = "https://keys.example.com/jwks" }
}
auth "jwt" {
  jwks = "https://login.example.com/jwks?v=1"
}
auth "firebase" {
  project = "my-app-1a2b3"
}
auth "firebase" {
  project   = "example.com:my-app"
  jwks      = "./jwks.json"
  app_check = { project_number = "8" }
}
auth "hmac" {
  master = file("dev-1.key")
}
auth "hmac" {
  secrets = { "dev-1" = file("dev-1.key"), dev_2 = "two" }
}
huawei {
  callback_key  = "callback"
  callback_user = "balhost"
}
`)), func(string) (string, bool) { return "from env", true })
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	want := &Gateway{
		Listen: "0.0.0.0:8443", CertFile: at("tls.crt"), KeyFile: at("tls.key"), ProxyProtocol: true, MaxConnections: 5, Rate: 6,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")},
		CORSOrigins:    []string{"https://chat.example.com", "http://localhost:3000", "capacitor://localhost"},
		Auth: []credential.Rule{
			{Kind: credential.Static, Token: "from env", Insecure: true},
			{Kind: credential.JWT, JWKS: at("jwks.json"), Issuer: "https://login.example.com", Audience: "app", FromClaim: "device", CategoryClaim: "app",
				AppCheck: &credential.AppCheck{ProjectNumber: "7", Apps: []string{"1:7:android:a"}, JWKS: "https://keys.example.com/jwks"}},
			{Kind: credential.JWT, JWKS: "https://login.example.com/jwks?v=1", FromClaim: "sub"},
			{Kind: credential.Firebase, Project: "my-app-1a2b3"},
			{Kind: credential.Firebase, Project: "example.com:my-app", JWKS: at("jwks.json"), AppCheck: &credential.AppCheck{ProjectNumber: "8"}},
			{Kind: credential.HMAC, Master: "the secret of dev-1"},
			{Kind: credential.HMAC, Secrets: map[string]Secret{"dev-1": "the secret of dev-1", "dev_2": "two"}},
		},
		Huawei: &Huawei{CallbackKey: "callback", CallbackUser: "balhost"},
	}
	if diff := cmp.Diff(want, cfg.Sessions[0].Gateway, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if cfg, err = Parse(filepath.Join(dir, "config.hcl"), []byte(gated(static)), noEnv); err != nil {
		t.Fatal(err)
	}
	least := &Gateway{Listen: "127.0.0.1:8443", Auth: []credential.Rule{{Kind: credential.Static, Token: "hunter2"}}, MaxConnections: 10_000, Rate: 10}
	if diff := cmp.Diff(least, cfg.Sessions[0].Gateway); diff != "" {
		t.Error(diff)
	}
}

// A gateway goes beside ccs or fcm_v1, which then carry what goes to devices that aren't
// connected, or alone.
func TestGatewayBeside(t *testing.T) {
	block := "  gateway {\n listen = \"127.0.0.1:8443\"\n" + static + "}\n}\n"
	for src, want := range map[string]message.Transport{
		gated(static): message.Gateway,
		gated("huawei {\n callback_key = \"k\"\n}"):          message.Huawei,
		gated(static + "huawei {\n callback_key = \"k\"\n}"): message.Gateway,
		strings.TrimSuffix(least, "}\n") + block:             message.CCS,
		strings.TrimSuffix(fcm(""), "}\n") + block:           message.FCMv1,
	} {
		if cfg, err := Parse("config.hcl", []byte(src), noEnv); err != nil {
			t.Error(err)
		} else if got := cfg.Sessions[0].Transport(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	both := strings.TrimSuffix(least, "}\n") + "fcm_v1 {\n credentials = \"adc\"\n}\n" + block
	if _, err := Parse("config.hcl", []byte(both), noEnv); err == nil || !strings.Contains(err.Error(), "has both ccs and fcm_v1") {
		t.Error(err)
	}
}

// One wrong thing each: what is said of a gateway. // P10
func TestGatewayProblems(t *testing.T) {
	dir := gatewayFolder(t)
	one := func(auth string) string { return gated(auth) }
	jwt := func(line string) string { return gated("auth \"jwt\" {\n" + line + "\n}") }
	check := func(object string) string { return jwt("jwks = \"jwks.json\"\napp_check = " + object) }
	hmac := func(line string) string { return gated("auth \"hmac\" {\n" + line + "\n}") }
	files := func(cert, key string) string {
		return gated(static + "tls {\n cert_file = \"" + cert + "\"\n key_file = \"" + key + "\"\n}")
	}
	second := func(listen string) string {
		return gated(static) + strings.NewReplacer(`"main"`, `"two"`, `"1"`, `"2"`, "127.0.0.1:8443", listen).Replace(gated(static))
	}
	for name, c := range map[string]struct{ src, want string }{
		"no listen":                {strings.Replace(gated(static), "listen", "# ", 1), `3,3-10: gateway of session "main" has no listen`},
		"an URL":                   {gated(`listen = "https://x:1"` + "\n" + static), `is a URL: write host:port`},
		"nobody":                   {gated(""), `3,3-10: the gateway of session "main" lets nobody in`},
		"no TLS":                   {gated("listen = \"0.0.0.0:8443\"\nauth \"jwt\" {\n jwks = \"jwks.json\"\n}"), `listen: 0.0.0.0:8443 can be reached from other machines, so the gateway needs a block tls`},
		"no TLS on every address":  {gated("listen = \":8443\"\nauth \"jwt\" {\n jwks = \"jwks.json\"\n}"), "can be reached from other machines"},
		"static for everybody":     {gated("listen = \"[::]:8443\"\n" + pair + static), `auth "static" on [::]:8443: whoever has the token can send in the name of every device`},
		"cert alone":               {gated(static + "tls {\n cert_file = \"tls.crt\"\n}"), `tls in the gateway of session "main" has no key_file`},
		"key alone":                {gated(static + "tls {\n key_file = \"tls.key\"\n}"), `tls in the gateway of session "main" has no cert_file`},
		"no cert":                  {files("none.crt", "tls.key"), "cert_file: stat " + dir + "/none.crt: no such file or directory"},
		"no key":                   {files("tls.crt", "none.key"), "key_file: stat " + dir + "/none.key: no such file or directory"},
		"empty cert_file":          {files("", "tls.key"), "cert_file: is empty; give the path of a file in PEM"},
		"a key of another":         {files("tls.crt", "other.key"), "other.key can't be used together: private key does not match public key"},
		"switched":                 {files("tls.key", "tls.crt"), "PEM inputs may have been switched"},
		"no PEM":                   {files("text", "tls.key"), "can't be used together: failed to find any PEM data in certificate input"},
		"kind":                     {one("auth \"basic\" {}"), `5,1-13: auth "basic" is no kind of credential: there are jwt`},
		"kind twice":               {one("auth \"static\" \"x\" {}"), "Extraneous label"},
		"no token":                 {one("auth \"static\" {}"), `auth "static" has no token`},
		"empty token":              {one("auth \"static\" {\n token = \"\"\n}"), "token: is empty"},
		"no jwks":                  {jwt(""), `auth "jwt" has no jwks`},
		"another kind's":           {jwt("jwks = \"jwks.json\"\ntoken = \"hunter2\""), `token: is a key of auth "static", and auth "jwt" has nothing like it: remove it`},
		"two kinds'":               {one("auth \"static\" {\n token = \"x\"\n jwks = \"jwks.json\"\n}"), `jwks: is a key of auth "firebase" and "jwt", and auth "static"`},
		"unknown":                  {jwt("jwks = \"jwks.json\"\nisuer = \"x\""), `Did you mean "issuer"?`},
		"no such jwks":             {jwt(`jwks = "none.json"`), "jwks: stat " + dir + "/none.json: no such file or directory"},
		"jwks that is none":        {jwt(`jwks = "text"`), "jwks: " + dir + "/text: "},
		"jwks without a key":       {jwt(`jwks = "empty.json"`), "jwks: " + dir + "/empty.json: "},
		"jwks without encryption":  {jwt(`jwks = "http://login.example.com/jwks"`), "is no https URL: keys that come without encryption can be anybody's"},
		"jwks with a password":     {jwt(`jwks = "https://me:hunter2@login.example.com/jwks"`), "jwks: is no URL: write one like https://"},
		"empty jwks":               {jwt(`jwks = ""`), "jwks: is empty; give the path of a file, or an https URL"},
		"empty from_claim":         {jwt("jwks = \"jwks.json\"\nfrom_claim = \"\""), `from_claim: is empty; leave the key out for "sub"`},
		"no project":               {one("auth \"firebase\" {}"), `auth "firebase" has no project`},
		"a number as project":      {one("auth \"firebase\" {\n project = \"482915730064\"\n}"), `project: "482915730064" is a project's number: write its id`},
		"a name as project":        {one("auth \"firebase\" {\n project = \"My App\"\n}"), `project: "My App" can't be a project's id`},
		"neither":                  {hmac(""), `auth "hmac" needs either master`},
		"both":                     {hmac("master = \"hunter2\"\nsecrets = { a = \"hunter2\" }"), `auth "hmac" needs either master`},
		"a short master":           {hmac("master = \"hunter2\""), `master: has 7 bytes: who has one device's secret could guess it`},
		"secrets as text":          {hmac(`secrets = "hunter2"`), `secrets: want an object like { "dev-1" = file("dev-1.key") }, not a string`},
		"no secret":                {hmac(`secrets = {}`), "secrets: has no key in it"},
		"empty secret":             {hmac(`secrets = { "dev-1" = "" }`), "secrets: dev-1: is empty"},
		"a number as secret":       {hmac(`secrets = { "dev-1" = 12 }`), "secrets: dev-1: want a string in quotes, not a number"},
		"name with a quote":        {hmac(`secrets = { "a\"b" = "hunter2" }`), `secrets: "a\"b" can't be the name of a key`},
		"app_check as text":        {check(`"x"`), `app_check: want an object like { project_number = "482915730064", apps = [] }, not a string`},
		"app_check without":        {check(`{}`), "app_check: project_number: give the project's number in quotes"},
		"app_check by id":          {check(`{ project_number = "my-app" }`), "app_check: project_number: give the project's number in quotes"},
		"app_check, unknown":       {check(`{ project_number = "1", app = [] }`), "app_check: app: there is no such key: there are project_number, apps and jwks"},
		"app_check, apps":          {check(`{ project_number = "1", apps = "x" }`), "app_check: apps: want a list of app ids like"},
		"app_check, an app":        {check(`{ project_number = "1", apps = [""] }`), "in it that can't be an id"},
		"app_check, jwks":          {check(`{ project_number = "1", jwks = "http://x/" }`), `app_check: jwks: "http://x/" is no https URL`},
		"no callback_key":          {gated("huawei {}"), `huawei in session "main" has no callback_key`},
		"proxies":                  {gated(static + `trusted_proxies = ["proxy.example.com"]`), `trusted_proxies: "proxy.example.com" is no network: write addresses like "10.1.2.3"`},
		"every proxy":              {gated(static + `trusted_proxies = ["0.0.0.0/0"]`), `"0.0.0.0/0" is everybody`},
		"an address and a network": {gated(static + `trusted_proxies = ["10.1.2.3/8"]`), `write "10.0.0.0/8" for the network, or "10.1.2.3" for the address alone`},
		"mapped":                   {gated(static + `trusted_proxies = ["::ffff:10.1.2.3"]`), "is no network"},
		"proxy_protocol":           {gated(static + `proxy_protocol = true`), "proxy_protocol: nobody may speak it: name the addresses of the proxies in trusted_proxies"},
		"perhaps":                  {gated(static + `proxy_protocol = "perhaps"`), "proxy_protocol: want true or false, not a string"},
		"every origin":             {gated(static + `cors_origins = ["*"]`), `cors_origins: "*": a page of any origin could use the credentials`},
		"an origin's path":         {gated(static + `cors_origins = ["https://chat.example.com/"]`), `has more than an origin: write "https://chat.example.com"`},
		"an origin's case":         {gated(static + `cors_origins = ["https://Chat.example.com"]`), `write "https://chat.example.com"`},
		"an origin's own port":     {gated(static + `cors_origins = ["https://chat.example.com:443"]`), `browsers leave out the scheme's own port: write "https://chat.example.com"`},
		"a host as origin":         {gated(static + `cors_origins = ["chat.example.com"]`), `is no origin: write one as the browser does`},
		"null as origin":           {gated(static + `cors_origins = ["null"]`), `is no origin`},
		"an origin's port":         {gated(static + `cors_origins = ["https://chat.example.com:99999"]`), `has no port number between 1 and 65535`},
		"no connection":            {gated(static + "max_connections = 0"), "max_connections: 0 is out of range"},
		"no rate":                  {gated(static + "rate = 0"), "rate: 0 is out of range"},
		"two":                      {second("127.0.0.1:8443"), `127.0.0.1:8443 is already the address of the gateway of session "main": give each its own`},
		"two by another name":      {second("localhost:8443"), `localhost:8443 is already the address of the gateway of session "main"`},
		"two, one everywhere":      {strings.Replace(second("[::1]:8443"), "127.0.0.1:8443", "[::1]:8443", 1), `is already the address of the gateway of session "main"`},
		"the admin's":              {gated("listen = \"127.0.0.1:8765\"\n" + static), `127.0.0.1:8765 is already the address of the admin block`},
		"the admin's socket":       {gated("listen = \"unix:a.sock\"\n"+static) + "admin {\n listen = \"unix:./a.sock\"\n}\n", "is already the address of the admin block"},
		"socket in the host's":     {gated("listen = \"unix:data/run/g.sock\"\n" + static), "lies in the host's own folder: choose another path, such as " + dir + "/data/g.sock"},
		"key in the host's":        {files("tls.crt", "data/run/tls.key"), "key_file: " + dir + "/data/run/tls.key lies in the host's own folder"},
		"a key's path":             {files("tls.crt", "none.key"), `key_file = "none.key"`},
		"twice":                    {gated(static + "huawei {\n callback_key = \"k\"\n}\nhuawei {\n callback_key = \"k\"\n}"), "Duplicate huawei block"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(filepath.Join(dir, "config.hcl"), []byte(c.src), noEnv)
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("want …%s…, got\n%v", c.want, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is shown:\n%v", err)
			}
		})
	}
}

// What is shown of a line among secrets, or of a session to write anew, has no secret.
func TestGatewaySecretsAreHidden(t *testing.T) {
	for _, src := range []string{
		gated("auth \"hmac\" {\n  secrets = {\n    \"dev-1\" = \"hunter2\" + nope\n    \"dev-2\" = hunter2(\"hunter2\")\n  }\n}"),
		gated("auth \"hmac\" {\n  master = \"hunter2\" + nope\n}"),
		gated("huawei {\n  callback_key = \"hunter2\" + nope\n}"),
		"session \"main\" {\n  sender_id = \"1\"\n  address = \"ccs:1\"\n  server_key = env(\"K\", \"k\")\n  gateway {\n listen = \"127.0.0.1:1\"\n auth \"hmac\" {\n  secrets = {\n   \"dev-1\" = \"hunter2\"\n  }\n }\n auth \"static\" {\n token = \"hunter2\"\n}\n }\n}\n",
	} {
		_, err := Parse("config.hcl", []byte(src), noEnv)
		if err == nil {
			t.Fatal("taken")
		}
		if shown := strings.ReplaceAll(err.Error(), `There is no function named "hunter2"`, ""); strings.Contains(shown, "hunter2") {
			t.Errorf("a secret is shown:\n%v", err)
		}
	}
}

// The older form of a session may have a gateway beside it; what to write keeps it.
func TestOlderFormWithGateway(t *testing.T) {
	src := "session \"main\" {\n  sender_id = \"1\"\n  address = \"ccs:1\"\n  server_key = env(\"K\", \"k\")\n  gateway {\n    listen = \"127.0.0.1:1\"\n    auth \"static\" {\n      token = env(\"T\", \"t\")\n    }\n  }\n}\n"
	_, err := Parse("config.hcl", []byte(src), noEnv)
	if err == nil {
		t.Fatal("taken")
	}
	write := err.(*Error).Problems[0].Write
	if !strings.Contains(write, "auth \"static\" {\n") {
		t.Errorf("to write:\n%s", write)
	}
	if cfg, err := Parse("config.hcl", []byte(write), noEnv); err != nil || cfg.Sessions[0].CCS == nil || cfg.Sessions[0].Gateway == nil {
		t.Errorf("what to write is refused: %v", err)
	}
}

// Which addresses can't both be listened on, and which can.
func TestClash(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		clash bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", false}, {"127.0.0.1:1", "127.0.0.2:1", false},
		{":1", "127.0.0.1:1", true}, {"0.0.0.0:1", "10.0.0.1:1", true}, {"[::]:1", "127.0.0.1:1", true}, {":1", ":2", false},
		{"localhost:1", "127.0.0.1:1", true}, {"[::1]:1", "LocalHost:1", true}, {"localhost:1", "10.0.0.1:1", false},
		{"127.0.0.1:0", "127.0.0.1:0", false}, {"unix:/a", "unix:/a", true}, {"unix:/a", "unix:/b", false}, {"unix:/a", "127.0.0.1:1", false}, {"", "", false},
	} {
		if Clash(c.a, c.b) != c.clash || Clash(c.b, c.a) != c.clash {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.clash)
		}
	}
}
