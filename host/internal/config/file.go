package config

import "github.com/hashicorp/hcl/v2"

// file is config.hcl as it is written. Every key is optional here. So the checker
// can report everything that is missing or wrong at once, in its own words.
type file struct {
	DataDir     *hcl.Attribute `hcl:"data_dir,optional"`
	ConnectRate *hcl.Attribute `hcl:"connect_rate,optional"`
	Sessions    []fileSession  `hcl:"session,block"`
	Plugins     *filePlugins   `hcl:"plugins,block"`
	Plugin      []filePlugin   `hcl:"plugin,block"`
	Ledger      *fileLedger    `hcl:"ledger,block"`
	Admin       *fileAdmin     `hcl:"admin,block"`
	Log         *fileLog       `hcl:"log,block"`
	Tracing     *fileTracing   `hcl:"tracing,block"`
}

// fileSession has ccs or fcm_v1, a gateway, or both. The file's older form, with the keys of ccs directly
// in the session, is read too, and reported (see transports).
type fileSession struct {
	Name     string         `hcl:"name,label"`
	Range    hcl.Range      `hcl:",def_range"`
	SenderID *hcl.Attribute `hcl:"sender_id,optional"`
	CCS      *fileCCS       `hcl:"ccs,block"`
	FCMv1    *fileFCMv1     `hcl:"fcm_v1,block"`
	Gateway  *fileGateway   `hcl:"gateway,block"`
}

type fileCCS struct {
	Range          hcl.Range      `hcl:",def_range"`
	Address        *hcl.Attribute `hcl:"address,optional"`
	ServerKey      *hcl.Attribute `hcl:"server_key,optional"`
	Connections    *hcl.Attribute `hcl:"connections,optional"`
	MaxConnections *hcl.Attribute `hcl:"max_connections,optional"`
	Window         *hcl.Attribute `hcl:"window,optional"`
	PingInterval   *hcl.Attribute `hcl:"ping_interval,optional"`
	PingTimeout    *hcl.Attribute `hcl:"ping_timeout,optional"`
	AnswerTimeout  *hcl.Attribute `hcl:"answer_timeout,optional"`
	MaxStanza      *hcl.Attribute `hcl:"max_stanza,optional"`
	AckWarn        *hcl.Attribute `hcl:"ack_warn,optional"`
	ConnectBackoff *fileBackoff   `hcl:"connect_backoff,block"`
	TLS            *fileTLS       `hcl:"tls,block"`
}

type fileFCMv1 struct {
	Range       hcl.Range      `hcl:",def_range"`
	Credentials *hcl.Attribute `hcl:"credentials,optional"`
	Endpoint    *hcl.Attribute `hcl:"endpoint,optional"`
	CAFile      *hcl.Attribute `hcl:"ca_file,optional"`
	Connections *hcl.Attribute `hcl:"connections,optional"`
	Rate        *hcl.Attribute `hcl:"rate,optional"`
}

type fileGateway struct {
	Range          hcl.Range        `hcl:",def_range"`
	Listen         *hcl.Attribute   `hcl:"listen,optional"`
	TLS            *fileCertificate `hcl:"tls,block"`
	Auth           []fileAuth       `hcl:"auth,block"`
	Huawei         *fileHuawei      `hcl:"huawei,block"`
	TrustedProxies *hcl.Attribute   `hcl:"trusted_proxies,optional"`
	ProxyProtocol  *hcl.Attribute   `hcl:"proxy_protocol,optional"`
	CORSOrigins    *hcl.Attribute   `hcl:"cors_origins,optional"`
	MaxConnections *hcl.Attribute   `hcl:"max_connections,optional"`
	Rate           *hcl.Attribute   `hcl:"rate,optional"`
}

type fileCertificate struct {
	Range    hcl.Range      `hcl:",def_range"`
	CertFile *hcl.Attribute `hcl:"cert_file,optional"`
	KeyFile  *hcl.Attribute `hcl:"key_file,optional"`
}

// fileAuth has the keys of all kinds; which of them a kind has: keysOfKind.
type fileAuth struct {
	Kind          string         `hcl:"kind,label"`
	Range         hcl.Range      `hcl:",def_range"`
	Token         *hcl.Attribute `hcl:"token,optional"`
	Insecure      *hcl.Attribute `hcl:"insecure,optional"`
	JWKS          *hcl.Attribute `hcl:"jwks,optional"`
	Issuer        *hcl.Attribute `hcl:"issuer,optional"`
	Audience      *hcl.Attribute `hcl:"audience,optional"`
	FromClaim     *hcl.Attribute `hcl:"from_claim,optional"`
	CategoryClaim *hcl.Attribute `hcl:"category_claim,optional"`
	Project       *hcl.Attribute `hcl:"project,optional"`
	Master        *hcl.Attribute `hcl:"master,optional"`
	Secrets       *hcl.Attribute `hcl:"secrets,optional"`
	AppCheck      *hcl.Attribute `hcl:"app_check,optional"`
}

type fileHuawei struct {
	Range        hcl.Range      `hcl:",def_range"`
	CallbackKey  *hcl.Attribute `hcl:"callback_key,optional"`
	CallbackUser *hcl.Attribute `hcl:"callback_user,optional"`
}

type fileTLS struct {
	CAFile     *hcl.Attribute `hcl:"ca_file,optional"`
	ServerName *hcl.Attribute `hcl:"server_name,optional"`
}

type fileBackoff struct {
	Range hcl.Range      `hcl:",def_range"`
	Min   *hcl.Attribute `hcl:"min,optional"`
	Max   *hcl.Attribute `hcl:"max,optional"`
}

type filePlugins struct {
	Dir        *hcl.Attribute `hcl:"dir,optional"`
	MaxSize    *hcl.Attribute `hcl:"max_size,optional"`
	MaxEntries *hcl.Attribute `hcl:"max_entries,optional"`
}

type filePlugin struct {
	Name           string         `hcl:"name,label"`
	Range          hcl.Range      `hcl:",def_range"`
	Categories     *hcl.Attribute `hcl:"categories,optional"`
	Order          *hcl.Attribute `hcl:"order,optional"`
	MaxAttempts    *hcl.Attribute `hcl:"max_attempts,optional"`
	HandlerTimeout *hcl.Attribute `hcl:"handler_timeout,optional"`
	DrainTimeout   *hcl.Attribute `hcl:"drain_timeout,optional"`
	StartTimeout   *hcl.Attribute `hcl:"start_timeout,optional"`
	RestartBackoff *fileBackoff   `hcl:"restart_backoff,block"`
	SuspectAfter   *hcl.Attribute `hcl:"suspect_after,optional"`
	MaxInFlight    *hcl.Attribute `hcl:"max_in_flight,optional"`
	Strategy       *hcl.Attribute `hcl:"strategy,optional"`
	Probation      *hcl.Attribute `hcl:"probation,optional"`
	OnRemove       *hcl.Attribute `hcl:"on_remove,optional"`
	SHA256         *hcl.Attribute `hcl:"sha256,optional"`
	MemoryMax      *hcl.Attribute `hcl:"memory_max,optional"`
	Debug          *hcl.Attribute `hcl:"debug,optional"`
	Config         *hcl.Attribute `hcl:"config,optional"`
	Env            *hcl.Attribute `hcl:"env,optional"`

	// A later version knows this key. It is an error, so that nobody relies on it (checker.later).
	Adopts *hcl.Attribute `hcl:"adopts,optional"`
}

type fileLedger struct {
	Range       hcl.Range      `hcl:",def_range"`
	DedupWindow *hcl.Attribute `hcl:"dedup_window,optional"`
	Retention   *hcl.Attribute `hcl:"retention,optional"`
	DiskSoft    *hcl.Attribute `hcl:"disk_soft,optional"`
	DiskHard    *hcl.Attribute `hcl:"disk_hard,optional"`
	Ballast     *hcl.Attribute `hcl:"ballast,optional"`
	Inodes      *hcl.Attribute `hcl:"inodes,optional"`
	KeyFile     *hcl.Attribute `hcl:"encryption_key_file,optional"`
}

type fileAdmin struct {
	Range  hcl.Range      `hcl:",def_range"`
	Listen *hcl.Attribute `hcl:"listen,optional"`
	Token  *hcl.Attribute `hcl:"token,optional"`
	Tokens []fileToken    `hcl:"token,block"`
	TLS    *fileAdminTLS  `hcl:"tls,block"`
}

type fileAdminTLS struct {
	Range        hcl.Range      `hcl:",def_range"`
	CertFile     *hcl.Attribute `hcl:"cert_file,optional"`
	KeyFile      *hcl.Attribute `hcl:"key_file,optional"`
	ClientCAFile *hcl.Attribute `hcl:"client_ca_file,optional"`
}

// certificate is the block without what only the admin block has.
func (b fileAdminTLS) certificate() fileCertificate {
	return fileCertificate{Range: b.Range, CertFile: b.CertFile, KeyFile: b.KeyFile}
}

type fileToken struct {
	Name   string         `hcl:"name,label"`
	Range  hcl.Range      `hcl:",def_range"`
	Role   *hcl.Attribute `hcl:"role,optional"`
	Secret *hcl.Attribute `hcl:"secret,optional"`
}

type fileTracing struct {
	Range    hcl.Range      `hcl:",def_range"`
	Endpoint *hcl.Attribute `hcl:"endpoint,optional"`
	Sample   *hcl.Attribute `hcl:"sample,optional"`
	Headers  *hcl.Attribute `hcl:"headers,optional"`
	CAFile   *hcl.Attribute `hcl:"ca_file,optional"`
}

type fileLog struct {
	Level  *hcl.Attribute `hcl:"level,optional"`
	Format *hcl.Attribute `hcl:"format,optional"`
}
