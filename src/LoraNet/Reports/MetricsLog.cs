using System.Text.Json;
using LoraNet.Formats;
using LoraNet.Training;

namespace LoraNet.Reports;

/// <summary>
/// metrics.jsonl: a JSON object a line, written as it happens, numbers in full precision. Steps: <c>step, epoch, loss, grad_norm,
/// learning_rate, tokens, tokens_per_second, milliseconds</c>; evaluations: <c>step, eval_loss</c>. A number that is not finite is null.
/// </summary>
public sealed class MetricsLog : IDisposable
{
    private readonly FileStream _stream;

    private MetricsLog(string path, bool append)
    {
        try
        {
            _stream = new FileStream(path, append ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.Read);
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(path, e);
        }
    }

    /// <summary>Starts the file anew.</summary>
    /// <exception cref="LoraNetException">It cannot be written.</exception>
    public static MetricsLog Create(string path) => new(path, append: false);

    /// <summary>
    /// Continues the file of an interrupted run: rows after <paramref name="step"/>, and a last line cut off by a crash, are dropped.
    /// </summary>
    /// <param name="path">The file; may be absent.</param>
    /// <param name="step">The last step that the checkpoint contains.</param>
    /// <param name="history">Receives the rows that were kept.</param>
    /// <exception cref="LoraNetException">It cannot be read or written.</exception>
    public static MetricsLog Resume(string path, int step, RunHistory history)
    {
        List<string> kept = [];
        try
        {
            if (File.Exists(path))
            {
                foreach (string line in File.ReadLines(path))
                {
                    if (!TryRead(line, history, step)) continue;
                    kept.Add(line + "\n");
                }
            }
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Reading(path, e);
        }
        AtomicFile.WriteAllText(path, string.Concat(kept));
        return new MetricsLog(path, append: true);
    }

    /// <summary>Writes a step.</summary>
    public void Write(StepResult step) => WriteLine(json =>
    {
        json.WriteNumber("step", step.Step);
        Number(json, "epoch", step.Epoch);
        Number(json, "loss", step.Loss);
        Number(json, "grad_norm", step.GradientNorm);
        Number(json, "learning_rate", step.LearningRate);
        json.WriteNumber("tokens", step.Tokens);
        Number(json, "tokens_per_second", step.TokensPerSecond);
        Number(json, "milliseconds", step.Milliseconds);
        if (!step.Applied) json.WriteBoolean("skipped", true);
    });

    /// <summary>Writes an evaluation.</summary>
    public void Write(EvalPoint evaluation) => WriteLine(json =>
    {
        json.WriteNumber("step", evaluation.Step);
        Number(json, "epoch", evaluation.Epoch);
        Number(json, "eval_loss", evaluation.Loss);
    });

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private void WriteLine(Action<Utf8JsonWriter> write)
    {
        using MemoryStream line = new();
        using (Utf8JsonWriter json = new(line))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }
        line.WriteByte((byte)'\n');
        try
        {
            // One write a line, handed to the system at once, so that a reader sees whole lines and a crash loses none.
            _stream.Write(line.GetBuffer().AsSpan(0, (int)line.Length));
            _stream.Flush();
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            throw FileErrors.Writing(_stream.Name, e);
        }
    }

    private static void Number(Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value)) json.WriteNumber(name, value);
        else json.WriteNull(name);
    }

    private static bool TryRead(string line, RunHistory history, int last)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement row = document.RootElement;
            int step = row.GetProperty("step").GetInt32();
            if (step > last) return false;
            if (row.TryGetProperty("eval_loss", out JsonElement loss))
            {
                history.Add(new EvalPoint(step, Read(row, "epoch"), loss.ValueKind == JsonValueKind.Number ? loss.GetDouble() : double.NaN));
                return true;
            }
            double milliseconds = Read(row, "milliseconds");
            int tokens = (int)Math.Round(Read(row, "tokens_per_second") * milliseconds / 1000);
            history.Add(new StepResult(step, Read(row, "epoch"), Read(row, "loss"), Read(row, "grad_norm"), Read(row, "learning_rate"),
                (int)Read(row, "tokens"), tokens, milliseconds, !row.TryGetProperty("skipped", out _)));
            return true;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return false;
        }
    }

    private static double Read(JsonElement row, string name) => row.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : double.NaN;
}
