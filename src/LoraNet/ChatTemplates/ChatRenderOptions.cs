namespace LoraNet.ChatTemplates;

/// <summary>How to render: limits on the template's work, and the clock behind <c>strftime_now</c>.</summary>
public sealed record ChatRenderOptions
{
    /// <summary>Default limits and the local time.</summary>
    public static ChatRenderOptions Default { get; } = new();

    /// <summary>What one rendering may cost.</summary>
    public ChatTemplateLimits Limits { get; init; } = ChatTemplateLimits.Default;

    /// <summary>The time that templates write into prompts; fix it to make renderings repeatable.</summary>
    public Func<DateTime> Clock { get; init; } = () => DateTime.Now;
}
