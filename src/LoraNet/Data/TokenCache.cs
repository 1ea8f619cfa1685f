using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using LoraNet.Data.Encoders;
using LoraNet.Data.Reading;
using LoraNet.Formats;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data;

/// <summary>
/// Tokenised rows on disk, so that a second run starts at once. A file's name is a hash of everything its contents depend on: the
/// bytes of the data and of the tokenizer's files, the options, the chat template and this library's build. Files are written aside
/// and renamed, and end in a hash of themselves: processes may share a folder, and a damaged file is made anew.
/// </summary>
internal sealed class TokenCache
{
    private const int HashBytes = 32;
    private const int HeaderBytes = 8 + HashBytes + 8;
    private const int RowBytes = 4 + 4 + 8 + 4 + 4 + 4;

    private readonly string _path;
    private readonly byte[] _key;
    private readonly IReadOnlyList<string> _files;

    private TokenCache(string path, byte[] key, IReadOnlyList<string> files) => (_path, _key, _files) = (path, key, files);

    private static ReadOnlySpan<byte> Magic => "LORADATA"u8;

    /// <summary>The cache entry of some files, or null if the tokenizer's contents can't be told.</summary>
    /// <exception cref="LoraNetException">The folder can't be made, or a file can't be read.</exception>
    public static TokenCache? TryCreate(string folder, IReadOnlyList<string> files, ITokenizer? tokenizer, DataOptions options, string? template)
    {
        if (tokenizer is not null and not Tokenizer { SourceFiles.Count: > 0 }) return null;
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(folder, e);
        }
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add("build", typeof(TokenCache).Module.ModuleVersionId + " " + typeof(TokenCache).Assembly.GetName().Version);
        foreach (string file in files) AddFile(file);
        foreach (string file in (tokenizer as Tokenizer)?.SourceFiles ?? []) AddFile(file);
        if (tokenizer is Tokenizer t) Add("tokens", $"{t.BosId} {string.Join(',', t.EndIds)} {t.VocabularySize} {t.AddedTokenCount}");
        Add("length", options.MaxLength.ToString(CultureInfo.InvariantCulture));
        Add("train on", options.TrainOn.ToString());
        Add("unit", options.TextUnit.ToString());
        Add("split", options.SplitStraddlingTokens.ToString());
        Add("template", template ?? "");
        // A template that prints the date gives other tokens every day.
        if (template?.Contains("strftime_now", StringComparison.Ordinal) == true) Add("date", (options.TemplateOptions?.Clock() ?? DateTime.Now).ToString("O", CultureInfo.InvariantCulture)[..10]);
        foreach ((string name, var value) in (options.TemplateVariables ?? new Dictionary<string, System.Text.Json.Nodes.JsonNode?>()).OrderBy(v => v.Key, StringComparer.Ordinal)) Add("variable " + name, value?.ToJsonString() ?? "null");
        foreach ((string from, string to) in (options.Columns ?? new Dictionary<string, string>()).OrderBy(v => v.Key, StringComparer.Ordinal)) Add("column " + from, to);
        byte[] key = hash.GetHashAndReset();
        return new TokenCache(Path.Combine(folder, Convert.ToHexStringLower(key) + ".tokens"), key, files);

        void Add(string name, string value)
        {
            byte[] text = Encoding.UTF8.GetBytes(value);
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}:{text.Length}:"));
            hash.AppendData(text);
        }

        void AddFile(string path)
        {
            using FileStream stream = DataFile.Open(path);
            try
            {
                Add("file", Path.GetExtension(path).ToLowerInvariant() + " " + Convert.ToHexStringLower(SHA256.HashData(stream)));
            }
            catch (Exception e) when (FileErrors.IsFileError(e))
            {
                throw FileErrors.Reading(path, e);
            }
        }
    }

    /// <summary>The rows, or null when there is no entry or it is damaged.</summary>
    public LoadedRows? TryRead()
    {
        try
        {
            if (!File.Exists(_path)) return null;
            using FileStream stream = new(_path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 16, FileOptions.SequentialScan);
            return Verified(stream) ? Read(stream) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>Writes the entry. A folder that can't be written to costs the next run its time, not this one its result.</summary>
    public void Write(LoadedRows rows)
    {
        try
        {
            AtomicFile.Write(_path, stream => Write(stream, rows));
        }
        catch (LoraNetException)
        {
            // The rows are at hand; there is nothing the user must do.
        }
    }

    private void Write(Stream target, LoadedRows rows)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Put(Magic);
        Put(_key);
        Span<byte> head = stackalloc byte[RowBytes];
        BinaryPrimitives.WriteInt64LittleEndian(head, rows.Rows.Count);
        Put(head[..8]);
        for (int i = 0; i < rows.Rows.Count; i++)
        {
            TokenRow row = rows.Rows[i];
            RowFacts facts = rows.Facts[i];
            head[0] = (byte)facts.Form;
            head[1] = (byte)facts.Flags;
            head[2] = row.AttentionMask is null ? (byte)0 : (byte)1;
            head[3] = facts.Place.ByRow ? (byte)1 : (byte)0;
            BinaryPrimitives.WriteInt32LittleEndian(head[4..], Math.Max(0, IndexOf(facts.Place.File)));
            BinaryPrimitives.WriteInt64LittleEndian(head[8..], facts.Place.Number);
            BinaryPrimitives.WriteInt32LittleEndian(head[16..], facts.FullLength);
            BinaryPrimitives.WriteInt32LittleEndian(head[20..], facts.Unknown);
            BinaryPrimitives.WriteInt32LittleEndian(head[24..], row.InputIds.Length);
            Put(head);
            Put(MemoryMarshal.AsBytes(row.InputIds.AsSpan()));
            Put(MemoryMarshal.AsBytes(row.Labels.AsSpan()));
            if (row.AttentionMask is { } mask) Put(MemoryMarshal.AsBytes(mask.AsSpan()));
        }
        target.Write(hash.GetHashAndReset());

        void Put(ReadOnlySpan<byte> bytes)
        {
            hash.AppendData(bytes);
            target.Write(bytes);
        }
    }

    private int IndexOf(string file)
    {
        for (int i = 0; i < _files.Count; i++)
            if (_files[i] == file) return i;
        return -1;
    }

    // The hash at the end, over all before it, and the key of this entry at the start.
    private bool Verified(FileStream stream)
    {
        if (stream.Length < HeaderBytes + HashBytes) return false;
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        for (long left = stream.Length - HashBytes; left > 0;)
        {
            int n = stream.Read(buffer, 0, (int)Math.Min(left, buffer.Length));
            if (n == 0) return false;
            hash.AppendData(buffer, 0, n);
            left -= n;
        }
        Span<byte> stored = stackalloc byte[HashBytes];
        stream.ReadExactly(stored);
        if (!stored.SequenceEqual(hash.GetHashAndReset())) return false;
        stream.Position = 0;
        Span<byte> head = stackalloc byte[8 + HashBytes];
        stream.ReadExactly(head);
        return head[..8].SequenceEqual(Magic) && head[8..].SequenceEqual(_key);
    }

    private LoadedRows? Read(FileStream stream)
    {
        Span<byte> head = stackalloc byte[RowBytes];
        stream.ReadExactly(head[..8]);
        long count = BinaryPrimitives.ReadInt64LittleEndian(head);
        long left = stream.Length - HeaderBytes - HashBytes;
        if (count < 0 || count > left / RowBytes) return null;
        var rows = new TokenRow[count];
        var facts = new RowFacts[count];
        for (int i = 0; i < rows.Length; i++)
        {
            stream.ReadExactly(head);
            int file = BinaryPrimitives.ReadInt32LittleEndian(head[4..]), length = BinaryPrimitives.ReadInt32LittleEndian(head[24..]);
            left -= RowBytes + ((head[2] != 0 ? 3L : 2L) * 4 * length);
            if (length < 0 || left < 0 || (uint)file >= (uint)_files.Count) return null;
            facts[i] = new RowFacts(
                new RowPlace(_files[file], BinaryPrimitives.ReadInt64LittleEndian(head[8..]), head[3] != 0), (DataForm)head[0], (RowFlags)head[1],
                BinaryPrimitives.ReadInt32LittleEndian(head[16..]), BinaryPrimitives.ReadInt32LittleEndian(head[20..]));
            int[] ids = Integers(length), labels = Integers(length);
            rows[i] = new TokenRow(ids, ids.AsSpan().SequenceEqual(labels) ? ids : labels, head[2] != 0 ? Integers(length) : null);
        }
        return left == 0 ? new LoadedRows(rows, facts, [], FromCache: true) : null;

        int[] Integers(int length)
        {
            int[] values = new int[length];
            stream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
            return values;
        }
    }
}
