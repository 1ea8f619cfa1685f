using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.Formats;

/// <summary>Reads small JSON files: bounded in size, no duplicate keys, errors that name the file and the line.</summary>
internal static class JsonFile
{
    private const long MaxBytes = 100_000_000;

    public static JsonDocument Parse(string path)
    {
        byte[] bytes = ReadBytes(path);
        try
        {
            return JsonDocument.Parse(bytes, new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (JsonException e)
        {
            throw Malformed(path, e);
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{path} holds a malformed string: {e.Message}", null, e);
        }
    }

    /// <summary>Parses a file whose root must be an object.</summary>
    public static JsonObject ParseObject(string path)
    {
        byte[] bytes = ReadBytes(path);
        try
        {
            return JsonNode.Parse(bytes, null, new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
                ?? throw new LoraNetException($"{path} does not hold a JSON object.");
        }
        catch (JsonException e)
        {
            throw Malformed(path, e);
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{path} holds a malformed string: {e.Message}", null, e);
        }
    }

    /// <summary>The text of a string element; escaped lone surrogates are an error of the file.</summary>
    public static string String(string path, JsonElement element)
    {
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new LoraNetException($"{path} holds a malformed string: {e.Message}", null, e);
        }
    }

    private static byte[] ReadBytes(string path)
    {
        byte[] bytes;
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            if (stream.Length > MaxBytes) throw new LoraNetException($"{path} is too large for a JSON file: {stream.Length} bytes.");
            bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Reading(path, e);
        }
        ReadOnlySpan<byte> span = bytes;
        if (span.StartsWith("version https://git-lfs"u8))
            throw new LoraNetException($"{path} is a Git LFS pointer, not the file itself.", "Run 'git lfs pull' in that folder, or download the file from the model's page.");
        // Editors on Windows like to add a byte order mark, which JSON does not allow.
        return span.StartsWith("\uFEFF"u8) ? bytes[3..] : bytes;
    }

    private static LoraNetException Malformed(string path, JsonException e)
    {
        string where = e.LineNumber is long line ? $" (line {line + 1})" : "";
        return new LoraNetException($"{path}{where} is not valid JSON: {e.Message}", "Mend the file or download it again.", e);
    }
}
