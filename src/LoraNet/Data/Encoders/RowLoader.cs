using LoraNet.ChatTemplates;
using LoraNet.Data.Reading;
using LoraNet.Models;
using LoraNet.Tokenizers;

namespace LoraNet.Data.Encoders;

/// <summary>Finished rows with their facts, and those left out.</summary>
internal sealed record LoadedRows(IReadOnlyList<TokenRow> Rows, IReadOnlyList<RowFacts> Facts, IReadOnlyList<RowFacts> LeftOut, bool FromCache)
{
    /// <summary>The rows with these indices.</summary>
    public LoadedRows Where(Func<int, bool> keep)
    {
        List<TokenRow> rows = [];
        List<RowFacts> facts = [];
        for (int i = 0; i < Rows.Count; i++)
        {
            if (!keep(i)) continue;
            rows.Add(Rows[i]);
            facts.Add(Facts[i]);
        }
        return this with { Rows = rows, Facts = facts };
    }
}

/// <summary>
/// Reads files row by row and encodes them in parallel, a bounded piece of text at a time, in the file's order. A row without a
/// trained token is an error, left out or kept, as the options say.
/// </summary>
internal sealed class RowLoader
{
    private const int ChunkRows = 2048;
    private const long ChunkBytes = 16 << 20;

    private readonly ITokenizer? _tokenizer;
    private readonly DataOptions _options;
    private readonly RowEncoder _encoder;
    private readonly ParallelOptions _parallel;

    public RowLoader(ITokenizer? tokenizer, DataOptions options, CancellationToken cancellationToken)
    {
        (_tokenizer, _options) = (tokenizer, options);
        _encoder = new RowEncoder(tokenizer, options);
        _parallel = new ParallelOptions { MaxDegreeOfParallelism = options.MaxThreads > 0 ? options.MaxThreads : Environment.ProcessorCount, CancellationToken = cancellationToken };
    }

    /// <summary>The rows of some files, from the cache where it has them.</summary>
    public LoadedRows Load(IReadOnlyList<string> files)
    {
        TokenCache? cache = _options.CacheDirectory is { } folder && _options.MaxRows is null && _options.AdapterColumn is null ? TokenCache.TryCreate(folder, files, _tokenizer, _options, _encoder.TemplateSource) : null;
        LoadedRows? all = cache?.TryRead();
        if (all is null)
        {
            all = Encode(files);
            cache?.Write(all);
        }
        return Judge(all);
    }

    private LoadedRows Encode(IReadOnlyList<string> files)
    {
        List<TokenRow> rows = [];
        List<RowFacts> facts = [];
        List<SourceRow> chunk = [];
        long bytes = 0;
        foreach (string file in files)
        {
            try
            {
                foreach (SourceRow row in DataFiles.Read(file, _options.TextUnit))
                {
                    _parallel.CancellationToken.ThrowIfCancellationRequested();
                    chunk.Add(row);
                    bytes += row.Size;
                    if (rows.Count + chunk.Count >= _options.MaxRows) break;
                    if (chunk.Count >= ChunkRows || bytes >= ChunkBytes) Flush();
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Formats.FileErrors.Reading(file, e);
            }
            Flush();
            if (rows.Count >= _options.MaxRows) break;
        }
        return new LoadedRows(rows, facts, [], FromCache: false);

        void Flush()
        {
            var results = new IReadOnlyList<EncodedRow>?[chunk.Count];
            var errors = new LoraNetException?[chunk.Count];
            Parallel.For(0, chunk.Count, _parallel, (i, state) =>
            {
                // Rows behind a faulty one needn't be looked at; those before it must be, so that the first fault is the one named.
                if (state.LowestBreakIteration < i) return;
                try
                {
                    results[i] = _encoder.Encode(chunk[i]);
                }
                catch (LoraNetException e)
                {
                    errors[i] = e;
                    state.Break();
                }
            });
            if (errors.FirstOrDefault(e => e is not null) is { } error) throw error;
            foreach (IReadOnlyList<EncodedRow>? encoded in results)
            {
                foreach (EncodedRow row in encoded!)
                {
                    rows.Add(row.Row);
                    facts.Add(row.Facts);
                }
            }
            chunk.Clear();
            bytes = 0;
        }
    }

    private LoadedRows Judge(LoadedRows all)
    {
        if (_options.UntrainedRows == UntrainedRows.Keep) return all;
        List<int> untrained = [.. Enumerable.Range(0, all.Rows.Count).Where(i => all.Rows[i].TrainedTokens == 0)];
        if (untrained.Count == 0) return all;
        if (_options.UntrainedRows == UntrainedRows.Error)
        {
            string named = string.Join("; ", untrained.Take(5).Select(i => $"row {i + 1} ({all.Facts[i].Place}): {Reason(all.Rows[i], all.Facts[i])}"));
            throw new LoraNetException(
                $"{untrained.Count} of {all.Rows.Count} rows have no trained token: {named}{(untrained.Count > 5 ? "; …" : "")}.",
                "Raise --max-length if answers were cut off, mend or remove the rows, or let them be skipped.");
        }
        HashSet<int> set = [.. untrained];
        return all.Where(i => !set.Contains(i)) with { LeftOut = [.. untrained.Select(i => all.Facts[i])] };
    }

    private string Reason(TokenRow row, RowFacts facts)
    {
        if (facts.FullLength > row.InputIds.Length) return $"its {facts.FullLength} tokens were cut to {row.InputIds.Length}, which left no answer";
        if (row.InputIds.Length < 2) return row.InputIds.Length == 0 ? "it is empty" : "it has one token, which nothing predicts";
        return facts.Form switch
        {
            DataForm.Messages or DataForm.ShareGpt => _options.TrainOn == TrainOn.All ? "nothing is trained" : "it has no trained turn of the assistant",
            _ => "all its labels are masked",
        };
    }
}
