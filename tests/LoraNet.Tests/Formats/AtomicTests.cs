using LoraNet.Formats;
using LoraNet.Tensors;

namespace LoraNet.Tests.Formats;

/// <summary>A failed write leaves what was there, and nothing else.</summary>
public class AtomicTests
{
    private static string Fails(Action action) => Assert.Throws<LoraNetException>(action).Message;

    private static void AssertUntouched(TemporaryFolder folder)
    {
        Assert.Equal(["x"], folder.Names);
        Assert.Equal("old", File.ReadAllText(folder["x"]));
    }

    [Fact]
    public void Files_are_replaced_whole_and_nothing_else_is_left()
    {
        using TemporaryFolder folder = new();
        AtomicFile.WriteAllText(folder["x"], "öne");
        AtomicFile.WriteAllText(folder["x"], "two");
        AtomicFile.WriteAllBytes(folder["y"], [1, 2, 3]);
        AtomicFile.Write(folder["z"], static s => s.WriteByte(7));
        Assert.Equal(["x", "y", "z"], folder.Names);
        Assert.Equal("two"u8.ToArray(), File.ReadAllBytes(folder["x"]));
        Assert.Equal([1, 2, 3], File.ReadAllBytes(folder["y"]));
        Assert.Equal([7], File.ReadAllBytes(folder["z"]));
    }

    [Fact]
    public void A_writer_that_throws_leaves_the_old_file()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["x"], "old");
        Assert.Throws<OperationCanceledException>(() => AtomicFile.Write(folder["x"], static s =>
        {
            s.Write(new byte[200_000]);
            throw new OperationCanceledException();
        }));
        AssertUntouched(folder);
    }

    [Fact]
    public void A_full_disk_is_a_message_and_leaves_the_old_file()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["x"], "old");
        // No disk has 2^60 bytes: the space is asked for before anything is written.
        SafetensorsEntry huge = new("w", DType.U8, [1 << 30, 1 << 30], static _ => Assert.Fail("nothing may be written"));
        Assert.Contains(folder["x"], Fails(() => SafetensorsWriter.Write(folder["x"], [huge])));
        AssertUntouched(folder);
    }

    [Fact]
    public void A_read_only_file_is_not_replaced()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["x"], "old");
        File.SetAttributes(folder["x"], FileAttributes.ReadOnly);
        Assert.Contains("read-only", Fails(() => AtomicFile.WriteAllText(folder["x"], "new")));
        AssertUntouched(folder);
        File.SetAttributes(folder["x"], FileAttributes.Normal);
    }

    [Fact]
    public void Impossible_targets_are_named()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("folder does not exist", Fails(() => AtomicFile.WriteAllText(folder[Path.Combine("no", "x")], "")));
        Directory.CreateDirectory(folder["d"]);
        Assert.Contains(folder["d"], Fails(() => AtomicFile.WriteAllText(folder["d"], "")));
        Assert.Equal(["d"], folder.Names);
    }

    [Fact]
    public void Non_finite_values_are_refused_when_asked()
    {
        foreach (DType dtype in new[] { DType.F32, DType.F64, DType.BF16, DType.F16 })
        {
            using TemporaryFolder folder = new();
            File.WriteAllText(folder["x"], "old");
            float[] values = new float[700_001];
            values[600_000] = float.NaN;
            SafetensorsEntry[] tensors = [SafetensorsEntry.FromSingles("a", new float[3], [3], dtype), SafetensorsEntry.FromSingles("w", values, [700_001], dtype)];
            string message = Fails(() => SafetensorsWriter.Write(folder["x"], tensors, refuseNonFinite: true));
            Assert.Contains("\"w\" is NaN or infinite at element 600000", message);
            AssertUntouched(folder);
            SafetensorsWriter.Write(folder["x"], tensors);
            using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
            Assert.Equal(600_000, file.Tensors["w"].FindNonFinite());
        }
    }

    [Fact]
    public void Integers_are_never_taken_for_non_finite()
    {
        using TemporaryFolder folder = new();
        byte[] ones = [.. Enumerable.Repeat((byte)0xFF, 64)];
        SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromBytes("i", DType.I32, [16], ones), SafetensorsEntry.FromBytes("u", DType.U16, [32], ones)], refuseNonFinite: true);
        using SafetensorsFile file = SafetensorsFile.Open(folder["x"]);
        Assert.Equal(-1, file.Tensors["i"].FindNonFinite());
    }

    [Fact]
    public void Tensors_of_wrong_length_or_name_are_refused()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["x"], "old");
        Assert.Throws<InvalidOperationException>(() => SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromBytes("w", DType.U8, [4], new byte[3])]));
        Assert.Throws<InvalidOperationException>(() => SafetensorsWriter.Write(folder["x"], [SafetensorsEntry.FromBytes("w", DType.U8, [4], new byte[5])]));
        SafetensorsEntry w = SafetensorsEntry.FromBytes("w", DType.U8, [1], new byte[1]);
        Assert.Contains("used twice", Fails(() => SafetensorsWriter.Write(folder["x"], [w, w])));
        Assert.Contains("reserved", Fails(() => SafetensorsWriter.Write(folder["x"], [w with { Name = "__metadata__" }])));
        AssertUntouched(folder);
    }

    [Fact]
    public void Folders_appear_whole_or_not_at_all()
    {
        using TemporaryFolder folder = new();
        string target = folder[Path.Combine("runs", "checkpoint-1")];
        using (AtomicDirectory d = AtomicDirectory.Begin(target))
        {
            File.WriteAllText(Path.Combine(d.TemporaryPath, "a"), "1");
            Assert.False(Directory.Exists(target));
        }
        Assert.Empty(Directory.GetFileSystemEntries(folder["runs"]));
        Write("first");
        Write("second");
        Assert.Equal("second", File.ReadAllText(Path.Combine(target, "sub", "a")));
        Assert.Equal([target], Directory.GetFileSystemEntries(folder["runs"]));

        void Write(string text)
        {
            using AtomicDirectory d = AtomicDirectory.Begin(target + Path.DirectorySeparatorChar);
            Directory.CreateDirectory(Path.Combine(d.TemporaryPath, "sub"));
            File.WriteAllText(Path.Combine(d.TemporaryPath, "sub", "a"), text);
            d.Commit();
        }
    }

    [Fact]
    public void An_interrupted_replacement_is_put_back()
    {
        using TemporaryFolder folder = new();
        // What is left when the program is killed between the two renames.
        Directory.CreateDirectory(folder[".c.replaced"]);
        File.WriteAllText(Path.Combine(folder[".c.replaced"], "a"), "old");
        Assert.True(AtomicDirectory.Recover(folder["c"]));
        Assert.Equal("old", File.ReadAllText(Path.Combine(folder["c"], "a")));
        Assert.Equal(["c"], folder.Names);
        Assert.False(AtomicDirectory.Recover(folder["c"]));
    }

    [Fact]
    public void A_folder_cannot_replace_a_file()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["x"], "old");
        Assert.Contains("is a file", Fails(() => AtomicDirectory.Begin(folder["x"])));
        AssertUntouched(folder);
    }
}
