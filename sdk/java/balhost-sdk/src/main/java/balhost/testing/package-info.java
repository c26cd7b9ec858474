/** A host for the tests of plugin authors. Start at {@link balhost.testing.FakeHost}. */
package balhost.testing;
