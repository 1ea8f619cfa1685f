using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.Formats;

/// <summary>Reads small JSON files: bounded in size, no duplicate keys, errors that name the file and the line.</summary>
internal static class JsonFile
{
    private const long MaxBytes = 100_000_000;

    /// <summary>Parses a file whose root must be an object.</summary>
    public static JsonObject ParseObject(string path)
    {
        byte[] bytes = ReadBytes(path);
        try
        {
            JsonObject root = JsonNode.Parse(bytes, null, new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
                ?? throw new LoraNetException($"{path} does not hold a JSON object.");
            Touch(root);
            return root;
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

    // Nodes are decoded when first read; doing it here brings malformed strings to light in one place.
    internal static void Touch(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject o:
                foreach ((_, JsonNode? child) in o) Touch(child);
                break;
            case JsonArray a:
                foreach (JsonNode? child in a) Touch(child);
                break;
            case JsonValue v when v.GetValueKind() == JsonValueKind.String:
                v.GetValue<string>();
                break;
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
