// Package keyfile is the key that encrypts what a host keeps on its disk. The key is in a
// file of its own. It encrypts no data: it wraps data keys, which are random, and are kept
// beside the data that they encrypt. So without the key file nobody can read the data.
// It keeps P10 for that file: a missing, wrong or open one is an error that says what to do,
// and no error shows the key. It starts nothing. Start at [Read].
package keyfile

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"balhost/host/internal/regular"
)

const (
	// Size is the bytes of a key, and of each data key: AES-256.
	Size = 32
	// WrappedSize is the bytes of a data key that is wrapped.
	WrappedSize = Size + Overhead
	// Overhead is how many bytes longer data is when it is encrypted: a random nonce of 12
	// bytes before it, and a tag of 16 after it.
	Overhead = 12 + 16
	// IDSize is the bytes of a key's id.
	IDSize = 8
)

// Key is the key of a file. A nil Key stands for no encryption. It never prints its secret.
type Key struct {
	path   string // "": not from a file
	secret [Size]byte
	id     [IDSize]byte
	wrap   cipher.AEAD
}

// New makes a key of secret bytes.
func New(secret [Size]byte) *Key {
	k := &Key{secret: secret}
	copy(k.id[:], k.Derive("id"))
	k.wrap = AEAD(k.Derive("wrap"))
	return k
}

// Derive is a key of [Size] bytes for one purpose, by HKDF with SHA-256 (RFC 5869). No key of
// a purpose says anything of another, nor of the file's key.
func (k *Key) Derive(purpose string) []byte {
	b, err := hkdf.Key(sha256.New, k.secret[:], nil, "balhost "+purpose, Size)
	if err != nil {
		panic(fmt.Sprintf("derive a key: %v", err)) // only a wrong size does that
	}
	return b
}

// ID names the key in files and in errors. It does not tell the secret.
func (k *Key) ID() [IDSize]byte { return k.id }

// String names the key.
func (k *Key) String() string {
	switch {
	case k == nil:
		return "no key"
	case k.path == "":
		return "key " + hex.EncodeToString(k.id[:])
	}
	return fmt.Sprintf("key %x (%s)", k.id, k.path)
}

// GoString names the key for %#v.
func (k *Key) GoString() string { return k.String() }

// MarshalText names the key for encoding/json and for loggers.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Same reports whether both are the same key, or none.
func (k *Key) Same(other *Key) bool {
	return k == nil && other == nil || k != nil && other != nil && k.secret == other.secret
}

// Errors of data that does not fit the key. Their text goes on.
var (
	ErrPlain = errors.New("it is not encrypted, but a key was given")
	ErrKey   = errors.New("it is encrypted")
)

// Check is nil if data that is encrypted by the key with an id can be decrypted by k.
func (k *Key) Check(id []byte) error {
	switch {
	case k == nil:
		return fmt.Errorf("%w by key %x, and no key was given", ErrKey, id)
	case !bytes.Equal(id, k.id[:]):
		return fmt.Errorf("%w by key %x, not by %v", ErrKey, id, k)
	}
	return nil
}

// NewDataKey draws a data key, and returns it wrapped too. context is where it belongs: only
// with the same context can it be unwrapped.
func (k *Key) NewDataKey(context []byte) (data cipher.AEAD, wrapped []byte) {
	secret := make([]byte, Size)
	rand.Read(secret) // never fails, by its contract
	return AEAD(secret), k.wrap.Seal(nil, nil, secret, context)
}

// ErrWrapped is that a wrapped data key is damaged, or was wrapped by another key.
var ErrWrapped = errors.New("its data key can't be decrypted: it is damaged, or that of another key")

// DataKey is a data key that NewDataKey wrapped.
func (k *Key) DataKey(wrapped, context []byte) (cipher.AEAD, error) {
	secret, err := k.wrap.Open(nil, nil, wrapped, context)
	if err != nil || len(secret) != Size {
		return nil, ErrWrapped
	}
	return AEAD(secret), nil
}

// AEAD encrypts and authenticates by AES-256-GCM under a secret of [Size] bytes. It draws a
// random nonce for each text and puts it first (see [cipher.NewGCMWithRandomNonce]).
func AEAD(secret []byte) cipher.AEAD {
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic(err) // only a wrong size does that
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the right block size
	}
	return sealer
}

// maxFile is more bytes than a key file has.
const maxFile = 1 << 10

// Read reads a key file: one line of 64 hexadecimal digits. A file that others can read or
// write is refused.
func Read(path string) (*Key, error) {
	b, err := regular.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is missing: put it back. Without it nobody can read what is encrypted under its key. For a new ledger: balhost key new %s: %w", path, path, fs.ErrNotExist)
	} else if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o027 != 0 {
		return nil, fmt.Errorf("others on this machine can read or change the key file %s (mode %04o): chmod 600 %s; if others have used the machine meanwhile, make another key (balhost rekey --help)", path, mode, path)
	}
	text := bytes.TrimSpace(b)
	if len(text) != 2*Size {
		return nil, fmt.Errorf("the key file %s has %d characters, a key has %d hexadecimal digits: is it the right file, and whole?", path, len(text), 2*Size)
	}
	var secret [Size]byte
	if _, err := hex.Decode(secret[:], text); err != nil {
		return nil, fmt.Errorf("the key file %s has something else than hexadecimal digits in it: is it the right file?", path)
	}
	if secret == ([Size]byte{}) {
		return nil, fmt.Errorf("the key in %s is all zeros: make one by balhost key new", path)
	}
	k := New(secret)
	k.path = path
	return k, nil
}

// Make draws a key and writes it to a new file, that only its user can read. It is durable
// when Make returns.
func Make(path string) (k *Key, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s exists: a key that is replaced is lost, with all that is encrypted under it; give another name: %w", path, fs.ErrExist)
	} else if err != nil {
		return nil, err
	}
	var secret [Size]byte
	rand.Read(secret[:]) // never fails, by its contract
	_, err = fmt.Fprintf(f, "%x\n", secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the key file: %w", err), os.Remove(path))
	}
	k = New(secret)
	k.path = path
	return k, nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
