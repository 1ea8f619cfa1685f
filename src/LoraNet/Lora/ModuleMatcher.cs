using System.Text.RegularExpressions;

namespace LoraNet.Lora;

/// <summary>PEFT's rules for which modules a name, pattern or layer number selects.</summary>
public static class ModuleMatcher
{
    private static readonly TimeSpan RegexLimit = TimeSpan.FromSeconds(2);

    /// <summary>Whether <paramref name="path"/> is adapted under <paramref name="config"/>, which has a target that is not all-linear.</summary>
    public static bool IsTarget(LoraConfig config, string path) =>
        Selects(config.TargetModules!, path) && LayerAllowed(config, path) && !(config.ExcludeModules is { } exclude && Selects(exclude, path));

    /// <summary>A list selects the module named by an entry or ending with ".entry"; a pattern must match the whole path.</summary>
    public static bool Selects(ModuleSelector selector, string path)
    {
        if (selector.Names is not null)
        {
            foreach (string name in selector.Names) if (SelectsName(name, path)) return true;
            return false;
        }
        return selector.Pattern is not null && FullMatch(selector.Pattern, path);
    }

    /// <summary>One entry of a list: the whole path or a dotted suffix; never a regular expression.</summary>
    public static bool SelectsName(string name, string path) =>
        path == name || (path.Length > name.Length && path.EndsWith(name, StringComparison.Ordinal) && path[path.Length - name.Length - 1] == '.');

    /// <summary>Python's re.fullmatch.</summary>
    public static bool FullMatch(string pattern, string path) => Compile($"^(?:{pattern})\\z", pattern).IsMatch(path);

    /// <summary>The value of the first key K with <c>^(.*\.)?(K)$</c> matching the path.</summary>
    public static bool TryPattern<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, string path, out T value)
    {
        foreach ((string key, T candidate) in patterns)
        {
            if (!PatternMatches(key, path)) continue;
            value = candidate;
            return true;
        }
        value = default!;
        return false;
    }

    /// <summary>One key of rank_pattern or alpha_pattern.</summary>
    public static bool PatternMatches(string key, string path) => Compile($"^(?:.*\\.)?(?:{key})$", key).IsMatch(path);

    /// <summary>
    /// A modules_to_save entry matches by plain suffix, without a dot boundary, as PEFT does: the module itself or one that
    /// holds it, such as RoBERTa's <c>classifier</c> with its two layers.
    /// </summary>
    public static bool IsSaved(string entry, string path)
    {
        for (int end = path.Length; end > 0; end = path.LastIndexOf('.', end - 1))
            if (path.AsSpan(0, end).EndsWith(entry)) return true;
        return false;
    }

    /// <summary>Modules under a modules_to_save entry are not adapted: <c>(^|.*\.)NAME($|\..*)</c>.</summary>
    public static bool IsUnderSaved(string entry, string path) => Compile($"^(?:|.*\\.){Regex.Escape(entry)}(?:$|\\..*)", entry).IsMatch(path);

    private static bool LayerAllowed(LoraConfig config, string path)
    {
        if (config.LayersToTransform is null || config.TargetModules!.Names is not { } names) return true;
        // PEFT skips the layer filter for an entry that is the whole path.
        foreach (string name in names) if (name == path) return true;
        int layer = -1;
        if (config.LayersPattern is { Count: > 0 } patterns)
        {
            foreach (string pattern in patterns)
            {
                Match match = Compile($"^.*?\\.{pattern}\\.(\\d+)\\.", pattern).Match(path);
                if (!match.Success) continue;
                layer = int.Parse(match.Groups[1].ValueSpan);
                break;
            }
        }
        else
        {
            Match match = Regex.Match(path, "^.*?\\.[^.]*\\.(\\d+)\\.");
            if (match.Success) layer = int.Parse(match.Groups[1].ValueSpan);
        }
        return layer >= 0 && config.LayersToTransform.Contains(layer);
    }

    private static Regex Compile(string expression, string original)
    {
        try
        {
            return new Regex(expression, RegexOptions.CultureInvariant, RegexLimit);
        }
        catch (ArgumentException e)
        {
            throw new LoraNetException($"'{original}' is not a valid regular expression: {e.Message}", inner: e);
        }
    }
}
