package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"balhost/host/internal/keyfile"
)

// Caches that badger needs for encrypted tables, in bytes. Without a key it reads tables as
// they are in the page cache.
const (
	blockCache = 16 << 20
	indexCache = 16 << 20
)

// encrypted makes badger encrypt. KEYREGISTRY has one data key, which newRegistry draws. Badger
// must never draw another: it would append it to KEYREGISTRY, and what a power cut leaves
// of that keeps badger from opening.
func encrypted(b badger.Options, key *keyfile.Key) badger.Options {
	if key == nil {
		return b
	}
	return b.WithEncryptionKey(key.Derive("badger")).WithEncryptionKeyRotationDuration(math.MaxInt64).
		WithBlockCacheSize(blockCache).WithIndexCacheSize(indexCache)
}

// registryOptions are for a look at KEYREGISTRY.
func registryOptions(o badger.Options) badger.KeyRegistryOptions {
	return badger.KeyRegistryOptions{Dir: o.Dir, ReadOnly: true, EncryptionKey: o.EncryptionKey, EncryptionKeyRotationDuration: math.MaxInt64}
}

// newRegistry makes KEYREGISTRY, with its data key, for a database that has nothing yet. It
// is there as a whole or not at all. Badger itself draws the data key later, by the wall
// clock: with a clock near 1970 it writes unencrypted tables instead.
func newRegistry(o badger.Options) error {
	if len(o.EncryptionKey) == 0 {
		if is, err := plainRegistry(o.Dir); err != nil || is {
			return err
		}
		// of a first start with a key, which has ended before there was anything
		return os.Remove(filepath.Join(o.Dir, badger.KeyRegistryFileName))
	}
	to := badger.KeyRegistryOptions{Dir: o.Dir, EncryptionKey: o.EncryptionKey, InMemory: true}
	r, err := badger.OpenKeyRegistry(to)
	if err == nil {
		_, err = r.LatestDataKey()
	}
	if err == nil {
		to.InMemory = false
		err = badger.WriteKeyRegistry(r, to)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", badger.KeyRegistryFileName, err)
	}
	return nil
}

// Badger begins KEYREGISTRY with 16 random bytes and this text, encrypted if there is a key.
const (
	sanityAt   = 16
	sanityText = "Hello Badger"
)

// plainRegistry reports whether KEYREGISTRY is that of an unencrypted database, or is not there.
func plainRegistry(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, badger.KeyRegistryFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	var b [sanityAt + len(sanityText)]byte
	n, err := io.ReadFull(f, b[:])
	if n == 0 && errors.Is(err, io.EOF) { // badger's own start was interrupted
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("%s is damaged (restore a backup): %w", badger.KeyRegistryFileName, err)
	}
	return string(b[sanityAt:]) == sanityText, nil
}

// CheckKey is nil if the state in a folder can be opened with a key, or is not there yet. Else
// it is [keyfile.ErrKey], or [keyfile.ErrPlain]. It changes nothing.
func CheckKey(dir string, key *keyfile.Key) error {
	if found, err := Schema(dir); err != nil || found == 0 {
		return err
	}
	plain, err := plainRegistry(dir)
	if err != nil {
		return err
	}
	switch {
	case plain && key == nil:
		return nil
	case plain:
		if info, err := os.Stat(filepath.Join(dir, badger.KeyRegistryFileName)); err != nil || info.Size() == 0 {
			return fmt.Errorf("%s, which has the data key, is missing or empty: put it back, or restore a backup", badger.KeyRegistryFileName)
		}
		return keyfile.ErrPlain
	case key == nil:
		return fmt.Errorf("%w, and no key was given", keyfile.ErrKey)
	}
	_, err = badger.OpenKeyRegistry(registryOptions(encrypted(badger.DefaultOptions(dir), key)))
	if errors.Is(err, badger.ErrEncryptionKeyMismatch) {
		return fmt.Errorf("%w, but not by %v", keyfile.ErrKey, key)
	} else if err != nil {
		return fmt.Errorf("%s is damaged (restore a backup): %w", badger.KeyRegistryFileName, err)
	}
	return nil
}
